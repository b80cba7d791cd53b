# The last stage begins from nothing, and takes the program and the page.
#   `apps/answer/Dockerfile` does the same.
import io

text = """
FROM debian:trixie-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends busybox-static
RUN mkdir /www && echo 'Here I am.' > /www/index.html

FROM scratch
COPY --from=build /bin/busybox /busybox
COPY --from=build /www /www
CMD ["/busybox", "httpd", "-f", "-p", "8000", "-h", "/www"]
"""
mine = build(client, fileobj=io.BytesIO(text.encode()), tag="course/my-answer")

check("07-smaller", mine)
