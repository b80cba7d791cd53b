"""
Certificates and pip settings of this computer, for the RUN steps of a build that call pip.

Behind a proxy that inspects TLS, pip in a build trusts nothing until it knows the proxy's certificate authority. Each
RUN that calls pip gets pip.conf and the certificates as BuildKit secrets: no layer, no history, no Dockerfile has them.
"""

import functools
import re

from helpers import engine
from helpers.host import settings
from helpers.images.dockerfile import instructions
from helpers.machines import disk

TARGETS = {"docker-course-pip": "/etc/pip.conf", "docker-course-ca": "/etc/docker-course-ca.pem"}
MOUNT = "--mount=type=secret,id={id},target={target},mode=0444 "
MOUNTS = "".join(MOUNT.format(id=name, target=target) for name, target in TARGETS.items())
MOST_BYTES = 500 * 1024  # of one BuildKit secret


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
    if not rows or not (disk.has_host_settings() if engine.is_machine(client) else files()):
        return text, {}
    for row in rows:
        lines[row["first_line"] - 1] = re.sub(r"(?i)^(\s*RUN\s+)", rf"\1{MOUNTS}", lines[row["first_line"] - 1])
    return "\n".join(lines), files()


def _calls_pip(lines, row):
    """Return whether a RUN calls pip, also in a heredoc; the package python3-pip is no call."""
    text = "\n".join(lines[row["first_line"] - 1 : row["last_line"]])
    return re.search(r"(?<![\w-])pip3?(?![\w-])", text, re.IGNORECASE)


@functools.cache
def files():
    """Return pip's configuration and the certificates by the names of their secrets; none where there are none."""
    bundle, (pip, _) = settings.certificate_bundle(), settings.pip_settings()
    if not bundle and not pip:
        return {}
    lines = ["[global]", *(f"{key} = {value}" for key, value in sorted(pip.items()))]
    certificates = settings.within(bundle, MOST_BYTES) if bundle else b""
    if certificates:
        lines.append(f"cert = {TARGETS['docker-course-ca']}")
    return {"docker-course-pip": ("\n".join(lines) + "\n").encode(), "docker-course-ca": certificates}
