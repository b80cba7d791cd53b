"""python3 -m helpers doctor: each kind of engine and what an engine needs, looked at and left as it is."""

import os
import shutil
import sys
from pathlib import Path

from helpers import engine, state
from helpers.engine import dockerd, running, vm
from helpers.engine.unavailable import Unavailable
from helpers.host import apt, network, settings
from helpers.machines import terminal as docker_command

ENOUGH_DISK_BYTES = 5e9  # the images of all notebooks and what building them leaves
PROBE = "debian:trixie-slim"


def main():
    """Print what was found; return 0 where an engine answers or can be started, else 1."""
    rows = examine()
    for row in rows:
        print(f"{row['state']:<8} {row['check']:<9} {row['said']}")
        if row["next"]:
            print(f"{'':<18} next: {row['next']}")
    usable = [row["check"] for row in rows if row["check"] in engine.KINDS and row["state"] == "ok"]
    mind = any(row["state"] == "problem" and row["check"] in ("proxy", "disk") for row in rows)
    if not usable:
        print("\nno engine can be used: take the first 'next' that suits you")
        return 1
    source = running.address()[0]
    passed_over = f", and not what {source} names" if usable[0] != "running" and source != "the default socket" else ""
    first = "; see to the problem above first" if mind else ""
    print(f"\nan engine can be used: {usable[0]}{passed_over}{first}")
    return 0


def examine():
    """
    Return one row a check: ``check``, ``state`` (ok, note, problem), ``said``, ``next`` (empty, or what to do).

    Starts nothing and installs nothing. SDK calls: ``client.version``, ``client.info``,
    ``client.api.inspect_distribution``.

    Example::

        table(examine(), ["check", "state", "said"])
    """
    source, url = running.address()
    where = "its own environment" if Path(sys.prefix).name == ".venv" else "the active environment"
    rows = [
        _row("Python", "ok", f"{sys.version.split()[0]}, in {where}"),
        _row("address", "note", f"{url}, from {source}"),
    ]
    forced = os.environ.get("COURSE_ENGINE") or None
    if forced and forced not in engine.KINDS:
        said = f"COURSE_ENGINE={forced} is unknown"
        rows.append(_row("engine", "problem", said, f"choose one of {', '.join(engine.KINDS)}, or unset it"))
    client = None
    for kind, look in (("running", running.connect), ("dockerd", dockerd.look), ("vm", vm.look)):
        if forced in (None, kind):
            found, row = _engine(kind, look)
            rows.append(row)
            client = client or found
            if found:
                break
    rows += _network()
    rows += [_disk(client), _registry(client)] if client else [_disk_of_state()]
    return rows


def _engine(kind, look):
    try:
        client = look()
    except Unavailable as error:
        return None, _row(kind, "problem", f"{error.code}: {error.reason}", error.remedy)
    if client is None and kind == "vm":
        return None, _row(kind, "ok", f"not started yet: lab, test and run {vm.prospect()}")
    if client is None:
        missing = "" if running.dockerd_program() else "; docker.io will be installed with apt-get for it"
        return None, _row(kind, "ok", f"not started yet: lab, test and run start a private engine here{missing}")
    variables = engine.variables(kind)
    if kind == "vm" and (folder := docker_command.folder()):
        variables = {"PATH": f"{folder}:$PATH", **variables}
    exports = " ".join(f"{name}={value}" for name, value in variables.items())
    terminal = f"to type docker commands in a terminal: export {exports}" if exports else ""
    return client, _row(kind, "ok", engine.describe(client, kind), terminal)


def _disk(client):
    root = engine.disk(client)
    if root is None:
        return _row("disk", "note", "the engine's disk cannot be seen from here", "docker system df tells what is used")
    free = shutil.disk_usage(root).free
    said = f"{free / 1e9:.1f} GB free for images in {root}"
    if free < ENOUGH_DISK_BYTES:
        remedy = (
            f"free some: the course needs {ENOUGH_DISK_BYTES / 1e9:.0f} GB (docker system df shows what images take)"
        )
        return _row("disk", "problem", f"{said}: nearly full", remedy)
    return _row("disk", "ok", said)


def _disk_of_state():
    """Look at the disk on which the course's own engine will keep its images."""
    try:
        free = shutil.disk_usage(state.folder()).free
    except OSError as error:
        return _row("disk", "note", f"no folder for the course: {error}", "set XDG_STATE_HOME to one of yours")
    said = f"{free / 1e9:.1f} GB free in {state.folder()}"
    if free < ENOUGH_DISK_BYTES:
        remedy = f"the course needs {ENOUGH_DISK_BYTES / 1e9:.0f} GB: free some, or set XDG_STATE_HOME to another disk"
        return _row("disk", "problem", said, remedy)
    return _row("disk", "ok", said)


def _registry(client):
    """Have the engine ask its registry for one manifest; nothing is pulled."""
    import docker

    try:
        client.api.inspect_distribution(PROBE)
    except docker.errors.APIError as error:
        said, remedy = error.explanation or str(error), _without_registry()
        if "toomanyrequests" in said:
            remedy = f"docker login raises Docker Hub's limit. Without it: {remedy}"
        elif "x509" in said:
            trust = "to pull, the engine must trust your proxy (docs.docker.com/engine/security/certificates)"
            remedy = f"{trust}; without that: {remedy}"
        elif "proxyconnect" in said:
            remedy = f"correct the engine's proxy (docs.docker.com/engine/daemon/proxy); {remedy}"
        return _row("registry", "note", f"none answered for {PROBE}: {said.strip()}", remedy)
    except OSError as error:  # no answer in time
        return _row("registry", "note", f"no answer for {PROBE} in time: {error}", _without_registry())
    return _row("registry", "ok", f"{PROBE} can be pulled")


def _without_registry():
    if shutil.which("mmdebstrap") or (apt.available() and os.geteuid() == 0):
        return "nothing: base images are made from Debian packages"
    if apt.available():
        return f"base images are made from Debian packages, once you have run: {apt.command(['mmdebstrap'])}"
    return "on a computer with a registry: docker pull and docker save; here: docker load"


def _network():
    """Return rows on the proxies that this environment names, and on its certificates."""
    rows, down = [], dict(network.silent_proxies())
    for proxy, why in down.items():
        rows.append(_row("proxy", "problem", f"{proxy} does not answer: {why}", "correct it, or unset what names it"))
    if network.variables() and not down:
        rows.append(_row("proxy", "ok", "something listens where HTTPS_PROXY or http_proxy point to"))
    if there := network.unreachable_proxy():
        remedy = (
            "have it listen on an address of this computer, and name that: builds that need PyPI or apt fail otherwise"
        )
        rows.append(_row("builds", "note", f"no container can reach {there}", remedy))
    for name in settings.BUNDLES:
        path = os.environ.get(name)
        if path and not Path(path).exists():
            rows.append(_row("proxy", "problem", f"{name} names a file that is not there: {path}", "correct it"))
    return rows


def _row(check, state, said, next=""):
    return {"check": check, "state": state, "said": said, "next": next}
