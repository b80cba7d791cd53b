"""What measuring a container and measuring a machine have in common."""

import http.client
import statistics
import time
import urllib.request

from helpers import waiting
from helpers.errors import CourseError

ACCELERATORS = {"tcg": "emulated (TCG)", "kvm": "with KVM"}


def spread(times):
    """Return the median of seconds, and the extremes."""
    return {"seconds": statistics.median(times), "least_seconds": min(times), "most_seconds": max(times)}


def first_answer(address, over):
    """Ask an address until it answers, and return the page; raise CourseError once ``over()`` says why none will."""
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    began = time.monotonic()
    while True:
        waited = time.monotonic() - began
        try:
            with ask(address, timeout=max(0.3, 0.05 * waited)) as answer:  # QEMU's ports open before the guest listens
                return answer.read().decode(errors="replace").strip()
        except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: no address
            said = over() if waited > 1 else ""
            if said or waited > waiting.FIRST_PAGE_SECONDS:
                tried = "waiting for the first answer"
                raise CourseError(tried, said or error, "close other programs, then try again") from None
        time.sleep(0.01)


def density(name, how, overhead, rows):
    """Return rows with what they have in common: the name, and what one more costs."""
    common = {"name": name, "how": how, "overhead": overhead}
    each = {f"{part}each_bytes": _slope(rows, f"{part}bytes") for part in ("", "overhead_")}
    return [{**common, **row, **each} for row in rows]


def _slope(rows, column):
    """Return what one more costs: the slope of the line of least squares, or the quotient where there is one row."""
    counts, values = [row["instances"] for row in rows], [row[column] for row in rows]
    return statistics.linear_regression(counts, values).slope if len(rows) > 1 else values[0] / counts[0]
