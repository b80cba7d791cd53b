"""What requests and urllib3 raise where an engine ends, or the way to it, before an answer or in the middle of one."""

import requests
import urllib3

GONE = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,  # by what docker-py reads without requests: the events of a pull, of a build
)
