"""Exercises of 02: inside a container."""

from helpers.containers.outcome import status_and_output
from helpers.lessons.checks.checking import exercise
from helpers.lessons.checks.observing import it_runs, status_of_first_process

HAS_ENDED = "what does it do? A container ends with its program: try sleep"


@exercise("02-limit", "container", "which argument limited the program that wanted 160 MB?")
def limited_memory(client, container):
    """Start a container that waits, and may use 32 MB of memory at most, swap included."""
    yield it_runs(container, HAS_ENDED)
    settings = container.attrs["HostConfig"]
    memory = settings["Memory"]
    allowed = f"its limit is {memory / 2**20:.6g} MB" if memory else "it has none"
    limited = 0 < memory <= 32 * 2**20
    yield f"its memory has a limit of 32 MB at most ({allowed})", limited, "mem_limit= takes '32m'"
    no_swap = settings["MemorySwap"] == memory or not client.info()["SwapLimit"]  # not every kernel limits it
    yield "and no swap beside it", no_swap, "memory and swap together are limited by another argument. Which?"


@exercise("02-keep", "volume", "where do files go that outlive every container?")
def note_in_volume(client, volume):
    """Write a file named note so that it is still there when its container is removed."""
    base = client.images.get("debian:trixie-slim")
    mounted = {volume.name: {"bind": "/data", "mode": "ro"}}
    _, listed = status_and_output(client, base, ["ls", "-A", "/data"], volumes=mounted)
    names = listed.split()
    question = f"in the volume there is: {' '.join(names) or 'nothing'}. At which path was it mounted where you wrote?"
    yield "a new container finds the file note in it", "note" in names, question
    status, _ = status_and_output(client, base, ["grep", "-q", "[^[:space:]]", "/data/note"], volumes=mounted)
    yield "it is a file, and there is something in it", status == 0, "what did you write, and into what?"
    on_disk = "tmpfs" not in str(volume.attrs.get("Options") or "")
    yield "the volume is on a disk", on_disk, "it is in memory (tmpfs), and is forgotten with its last container"


@exercise("02-no-rights", "container", "which two arguments of `run` take the rights away, and the user root?")
def without_rights(client, container):
    """Start a container that waits, as another user than root, without a single capability."""
    yield it_runs(container, HAS_ENDED)
    status = status_of_first_process(container)
    user = status.get("Uid", "0").split()[0]
    yield "its user is not root", user != "0", "user= takes a number, too. Which is root's?"
    dropped = int(status.get("CapBnd", "1"), 16) == 0
    question = "this user has none at work, but may a program that belongs to root get some? cap_drop= takes a list"
    yield "no capability is left to it", dropped, question
