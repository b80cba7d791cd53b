"""
Certificates and pip settings of this computer, for the RUN steps of a build that call pip.

Behind a proxy that inspects TLS, pip in a build trusts nothing until it knows the proxy's certificate authority. Each
RUN that calls pip gets pip.conf and the certificates as BuildKit secrets: no layer, no history, no Dockerfile has them.
One line says so, once.
"""

import contextlib
import functools
import re
from urllib.parse import urlsplit

from helpers import engine
from helpers.host import settings
from helpers.images.dockerfile import instructions
from helpers.machines import disk
from helpers.progress import aside

TARGETS = {"docker-course-pip": "/etc/pip.conf", "docker-course-ca": "/etc/docker-course-ca.pem"}
MOUNT = "--mount=type=secret,id={id},target={target},mode=0444 "
MOUNTS = "".join(MOUNT.format(id=name, target=target) for name, target in TARGETS.items())
MOST_BYTES = 500 * 1024  # of one BuildKit secret
INDEXES = ("index-url", "extra-index-url")

_lines, _printed = [], set()  # what was to be told of each build that calls pip, and what has been


def added(client, text):
    """
    Return ``(text, secrets)``: a Dockerfile whose RUN steps with pip take the secrets, and these; or the same and none.

    In the course's virtual machine, steps take them where they did when the machine was made: what they are is part of
    a step's key in the build cache, their content is not.

    Example::

        text, secrets = added(client, Path("apps/web/Dockerfile").read_text())
    """
    lines = text.split("\n")
    rows = [row for row in instructions(text) if row["keyword"] == "RUN" and _calls_pip(lines, row)]
    if not rows:
        return text, {}
    takes = disk.has_host_settings() if engine.is_machine(client) else files()
    _lines.append(_line(files() if takes else {}))
    if not takes:
        return text, {}
    for row in rows:
        lines[row["first_line"] - 1] = re.sub(r"(?i)^(\s*RUN\s+)", rf"\1{MOUNTS}", lines[row["first_line"] - 1])
    return "\n".join(lines), files()


def _calls_pip(lines, row):
    """Return whether a RUN calls pip, also in a heredoc; the package python3-pip is no call."""
    text = "\n".join(lines[row["first_line"] - 1 : row["last_line"]])
    return re.search(r"(?<![\w-])pip3?(?![\w-])", text, re.IGNORECASE)


@contextlib.contextmanager
def told():
    """Print what of this computer the builds inside took, and what was left out: a line, once in a process."""
    before = len(_lines)
    try:
        yield
    finally:  # a build that failed may have failed for that
        for line in _lines[before:]:
            if line and line not in _printed:
                _printed.add(line)
                aside(line)


def _line(given):
    """Return what is to be told of the secrets that a build is given, and of what it is not; "" where there is none."""
    bundle, (pip, left_out) = _found()
    hosts = [f"index {urlsplit(word).hostname}" for key in INDEXES for word in pip.get(key, "").split()]
    others = sorted(pip.keys() - set(INDEXES))
    took = [f"certificates ({bundle})"] if given.get("docker-course-ca") and bundle else []
    took += [f"pip settings ({', '.join(hosts + others)})"] if given and pip else []
    told = f"pip in a build gets this computer's {' and '.join(took)}; no image keeps them"
    lines = [f"{told}. In a terminal, docker build does not: .github/SUPPORT.md says what to add"] if took else []
    without = "left out" if took else "pip in a build goes without"
    lines += [f"{without}: {', '.join(map(_left_out, left_out))}"] if left_out else []
    return "; ".join(lines)


def _left_out(address):
    """Return an index address without user and password, and why no build gets it."""
    parts = urlsplit(address)
    if parts.password:
        return f"index {parts.hostname} (its address has a password)"
    return f"index {parts.scheme}://{parts.hostname or ''}{parts.path} (no container has it)"


@functools.cache
def _found():
    return settings.certificate_bundle(), settings.pip_settings()


@functools.cache
def files():
    """Return pip's configuration and the certificates by the names of their secrets; none where there are none."""
    bundle, (pip, _) = _found()
    if not bundle and not pip:
        return {}
    lines = ["[global]", *(f"{key} = {value}" for key, value in sorted(pip.items()))]
    certificates = settings.within(bundle, MOST_BYTES) if bundle else b""
    if certificates:
        lines.append(f"cert = {TARGETS['docker-course-ca']}")
    return {"docker-course-pip": ("\n".join(lines) + "\n").encode(), "docker-course-ca": certificates}
