"""Waiting for a condition, and the longest that each thing may take. Standard library only."""

import time

# Each is many times what a quiet computer needs: whoever waits goes on as soon as the condition holds.
ENGINE_START_SECONDS = 120  # a dockerd that was started, until it answers
ENGINE_STOP_SECONDS = 30  # from SIGTERM to SIGKILL
ENGINE_ANSWER_SECONDS = 60  # the engine in a virtual machine that was resumed, until it answers
GUEST_SILENT_SECONDS = 150  # a virtual machine that boots or works, and says nothing meanwhile
RESUMED_SECONDS = 30  # one whose state was loaded, until it takes its keys; one that does not is resumed again
STATE_SECONDS = 180  # loading or saving the state of a virtual machine
SOCKET_SECONDS = 30  # a program that was started, until it opens its socket
CALL_SECONDS = 600  # one call of the SDK: on a slow laptop, an answer may take minutes
DISK_USAGE_SECONDS = 60  # an engine that counts its disk for another program, until it does for this one
PORT_SECONDS = 30  # a port that a container publishes, until it answers; more in the virtual machine
BUILD_STEP_SECONDS = 600  # a step of a build in the workshop, which installs packages
FIRST_PAGE_SECONDS = 120  # a container or a virtual machine that was started, until its page is there
FORWARD_SECONDS = 30  # a port that a container in the virtual machine publishes, until it is open on this computer


def until(condition, seconds, pause=0.05):
    """
    Return the first true value of ``condition()``, or its last false one once the seconds are over.

    Example::

        until(lambda: path.exists(), seconds=30)
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(pause)
    return value
