"""A Docker Engine: an existing one, or one that the course starts. ``connect`` tries each kind in turn."""

import contextlib
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import state, waiting
from helpers.engine import dockerd, running, vm, vm_session
from helpers.engine.unavailable import Unavailable
from helpers.errors import CourseError
from helpers.machines import saved

if TYPE_CHECKING:
    import docker

HELPERS = Path(__file__).parents[1]
BUILT_FROM = (HELPERS.parent / "notebooks" / "apps", HELPERS / "images" / "recipes")
KINDS = {"running": running.connect, "dockerd": dockerd.connect, "vm": vm.connect}
CONTAINERDS_STORE = ["driver-type", "io.containerd.snapshotter.v1"]  # in what an engine says of its image store
TIMES_SLOWER = {"tcg": 8, "kvm": 2}  # the engine in the course's virtual machine, beside one on this computer


def connect(kind: str | None = None) -> "docker.DockerClient":
    """
    Return a ``docker.DockerClient`` on the first engine that answers, and print which one it is.

    ``kind`` (or the variable COURSE_ENGINE) forces one: ``running`` is the engine that DOCKER_HOST, the docker
    context or the default socket names; ``dockerd`` is a private one that the course starts, on Linux as root; ``vm``
    is one in a virtual machine, on Linux as anybody.
    SDK calls: ``docker.from_env`` or ``docker.DockerClient``, then ``client.version`` and ``client.info``.

    Raises:
        CourseError: no engine could be reached; the text lists each kind, why it failed and what to do.

    Example::

        client = connect()
    """
    from helpers.engine.cleaning import remove_expired  # with docker, which takes a third of a second

    reset_modes()
    client, kind = find(kind)
    remove_expired(client)
    print(describe(client, kind))
    return client


def find(kind=None):
    """
    Return ``(client, kind)`` of the first engine that answers; print only why one that was asked for is passed over.

    Raises:
        CourseError: as ``connect``.
    """
    kind = kind or os.environ.get("COURSE_ENGINE")
    if kind and kind not in KINDS:
        remedy = f"choose one of {', '.join(KINDS)}, or unset it"
        raise CourseError(f"COURSE_ENGINE={kind}", "there is no engine of that kind", remedy)
    _refuse_without_state()
    failures = {}
    for name in [kind] if kind else KINDS:
        _tell_what_was_passed_over(failures, name)
        try:
            client = KINDS[name]()
        except Unavailable as error:
            failures[name] = error
        else:
            from helpers.engine.exec_output import lose_nothing  # with docker

            client.api.timeout = waiting.CALL_SECONDS
            lose_nothing(client)
            return client, kind_of(client)
    lines = [f"{name}: {error.reason}\n  next: {error.remedy}" for name, error in failures.items()]
    raise CourseError("no Docker Engine could be reached", "\n".join(lines), "take the first step above that suits you")


def _refuse_without_state():
    try:
        state.folder()
    except OSError as error:
        remedy = "set XDG_STATE_HOME to a folder that you may write to"
        raise CourseError("making the course's state folder", error, remedy) from None


def _tell_what_was_passed_over(failures, kind):
    """Print why an existing engine is not used, where somebody named it or would expect it, before another starts."""
    named = running.address()[0] != "the default socket"
    failure = failures.get("running")
    if failure and kind == ("dockerd" if named else "vm") and (named or failure.code != "missing"):
        words = f"{failure.reason}: trying the next kind of engine (to use this one: {failure.remedy})"
        print(words, flush=True)


def reset_modes():
    """Reset file modes to git's: the build cache depends on them."""
    for top in BUILT_FROM:
        for path in top.rglob("*"):
            mode = path.stat().st_mode
            wanted = 0o755 if path.is_dir() or mode & 0o100 else 0o644
            if stat.S_IMODE(mode) != wanted:
                with contextlib.suppress(PermissionError):  # another user's: as it is
                    path.chmod(wanted)


def kind_of(client):
    """Return of which kind a client's engine is: an address in the environment may be that of a course engine."""
    if vm_session.is_ours(client):
        return "vm"
    return "dockerd" if dockerd.is_ours(client) else "running"


def refuse_no_client(client, tried):
    """Raise CourseError where a first argument is no client: two arguments that changed places, or a forgotten one."""
    if not hasattr(client, "api"):
        said = f"the first argument is no client, but of type {type(client).__name__}"
        raise CourseError(tried, said, "client = connect(), then give client first")


def is_machine(client):
    """Return whether a client speaks to the engine in the course's virtual machine."""
    return vm_session.is_ours(client)


def accelerator(client):
    """Return what runs the virtual machine of a client's engine, ``kvm`` or ``tcg``; None outside of one."""
    return saved.accelerator() if is_machine(client) else None


def patience(client, seconds):
    """Return the seconds that something may take which needs so many on this computer: more in a virtual machine."""
    return seconds * TIMES_SLOWER.get(accelerator(client), 1)


def variables(kind):
    """Return what a terminal's docker command needs in its environment to reach the course's own engine."""
    if kind == "dockerd":
        return {"DOCKER_HOST": dockerd.socket_url()}
    return vm_session.variables() if kind == "vm" else {}


def taken_ports(container):
    """Return the published ports of a container that another program of this computer has, which a VM cannot know."""
    return vm_session.taken_ports(container) if is_machine(container.client) else []


def disk(client):
    """Return the folder of the engine's images, of two that on the fuller disk; None where another computer has it."""
    info = client.info()
    folders = [Path(info["DockerRootDir"])]
    if CONTAINERDS_STORE in (info.get("DriverStatus") or []):  # it may be that of the computer's own containerd
        folders.append(Path("/var/lib/containerd"))
    local = client.api.base_url.startswith("http+docker") and "Desktop" not in info["OperatingSystem"]
    if not (local and folders[0].exists()):
        return None
    return min(filter(Path.exists, folders), key=lambda folder: shutil.disk_usage(folder).free)


def describe(client, kind):
    """Return one line about an engine: version, API, system and kind."""
    info = client.info()
    return (
        f"Docker Engine {info['ServerVersion']}, API {client.api.api_version}, on {info['OperatingSystem']}, "
        f"{info['OSType']}/{info['Architecture']}; kind: {kind}."
    )
