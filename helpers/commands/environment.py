"""The Python environment of the course: made once, in ``.venv``, or the active one. Standard library only."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from helpers.errors import CourseError
from helpers.host import apt, network
from helpers.state import Lock

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv"
TELLING_LINES = "SSLError|CERTIFICATE|ProxyError|name resolution|not known|refused|timed out|No space|ERROR: Could not"
LOCK = ROOT / ".venv.lock"
UNFINISHED = VENV / "docker-course-unfinished"  # there while we make .venv: an interrupted one is made again


def enter(arguments):
    """
    Return when this Python has all that the course needs; else go on with ``arguments`` in one that has.

    That is the active environment (virtual or conda) where it has everything, else ``.venv`` beside the README, which
    is made if need be.

    Raises:
        CourseError: it could not be made; with pip's last words.

    Example::

        enter(["lab"])
    """
    here = Path(sys.prefix) == VENV
    active = here or sys.prefix != sys.base_prefix or (Path(sys.prefix) / "conda-meta").is_dir()
    lacking = missing()
    if active and not lacking and not (here and UNFINISHED.exists()):
        return
    if active and not here:
        print(f"The active environment lacks {', '.join(lacking)}: the course takes its own, {VENV.name}", flush=True)
    python = _made_environment()
    command = [str(python), "-m", "helpers", *arguments]
    os.chdir(ROOT)
    if os.name == "nt":  # there, exec returns to the prompt at once
        sys.exit(subprocess.run(command).returncode)
    sys.stdout.flush()
    os.execv(python, command)


def missing():
    """Return what this Python lacks of pyproject.toml's dependencies, the course itself included; empty when ready."""
    import tomllib

    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    lacking = [line for line in wanted if not _has(*re.fullmatch(r"([\w.-]+)>=([\d.]+)", line).groups())]
    installed = (found.read_text("direct_url.json") or "" for found in metadata.distributions(name="docker-measured"))
    return lacking if any(f'"{ROOT.as_uri()}"' in text for text in installed) else [*lacking, "the course itself"]


def _has(name, bound):
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return _numbers(version) >= _numbers(bound)


def _numbers(version):
    return [int(number) for number in re.match(r"\d+(\.\d+)*", version)[0].split(".")]


def _made_environment():
    """Make ``.venv`` complete, where no other command does so at the moment; return its Python."""
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not _finished(python):
        if not os.access(ROOT, os.W_OK):
            remedy = "take a copy of the course in a folder that is yours"
            raise CourseError(f"setting up {VENV}", "this user may not write to that folder", remedy)
        with Lock(LOCK, f"another command is setting up {VENV.name}: waiting for it"):
            if not _finished(python):
                _make_environment(python)
    return python


def _finished(python):
    return not UNFINISHED.exists() and python.exists() and _ready(python)


def _make_environment(python):
    if UNFINISHED.exists():
        print(".venv was left unfinished: making it again", flush=True)
        shutil.rmtree(VENV)
    ours = not VENV.exists()  # a .venv that somebody else made is added to, never emptied
    if ours:
        VENV.mkdir()
        UNFINISHED.touch()
    print(f"Setting up {VENV.name}: JupyterLab and the Docker SDK, about a minute, once", flush=True)
    for proxy, why in network.silent_proxies():
        print(f"the proxy {proxy} does not answer ({why}): pip may try it for a minute or two", flush=True)
    _create(python)
    pip_install(python)
    if not _ready(python):
        raise CourseError("setting up .venv", "pip said done, and something is missing", f"delete {VENV}, try again")
    if ours:
        UNFINISHED.unlink()


def _ready(python):
    check = "from helpers.commands import environment; raise SystemExit(bool(environment.missing()))"
    return subprocess.run([python, "-c", check], cwd=ROOT, capture_output=True).returncode == 0


def _create(python):
    if importlib.util.find_spec("ensurepip") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        apt.install(f"python{version}-venv", why="this Python cannot make virtual environments")
    command = [getattr(sys, "_base_executable", sys.executable), "-m", "venv", str(VENV)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not python.exists():
        said = done.stderr or done.stdout
        raise CourseError(" ".join(command), said, "fix the problem above, then try again")


def pip_install(python, extra=""):
    """Install the course and what it needs, with pip's lines as progress where somebody watches."""
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--editable", f"{ROOT}{extra}"]
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        for line in pip.stdout:
            said.append(line.rstrip())
            if sys.stdout.isatty() and line.startswith(("Collecting", "Installing")):
                print(f"\r  {line.strip()[:70]:<70}", end="", flush=True)
    if sys.stdout.isatty():
        print("\r" + " " * 72 + "\r", end="", flush=True)
    if pip.returncode:
        telling = [line.strip() for line in said if re.search(TELLING_LINES, line)]
        tail = "\n".join(telling[:1] + telling[-1:] if telling else said[-6:])
        raise CourseError(" ".join(command), tail, _pip_remedy("\n".join(said)))


def _pip_remedy(said):
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        if os.environ.get(name) and not Path(os.environ[name]).exists():
            return f"{name} names a file that is not there, {os.environ[name]}: correct it"
    if down := network.silent_proxies():
        return f"the proxy {down[0][0]} does not answer ({down[0][1]}): correct HTTPS_PROXY, or unset it"
    if re.search("CERTIFICATE|SSL", said):
        return (
            "your network shows certificates of its own: export PIP_CERT=/path/to/ca.pem (often "
            "/etc/ssl/certs/ca-certificates.crt, or ask who runs the network), then try again"
        )
    return (
        "can this computer reach https://pypi.org? Behind a proxy: export HTTPS_PROXY=http://…; where that has "
        "certificates of its own: export PIP_CERT=/path/to/ca.pem; then try again"
    )
