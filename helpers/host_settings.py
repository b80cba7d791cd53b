"""What this computer knows of its network and a build must know too: certificate authorities and pip's settings."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

BUNDLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
OWN_AUTHORITIES = Path("/usr/local/share/ca-certificates")
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "timeout", "default-timeout")
DOCKERFILE = """\
ARG BASE
FROM ${BASE}
LABEL org.docker-course=1
COPY . /etc/
"""


def layer_on(client, image, tag):
    """
    Return ``(image, text)``: the image with one layer of host settings on top, or itself where there are none.

    ``tag`` is the image's name; with the layer it ends in ``-host``. The layer holds ``/etc/pip.conf`` and, where this
    computer has a certificate bundle of its own, that bundle. A final stage that begins from the plain image does not
    carry it. Passwords in an index address are left out. In the course's virtual machine it is the one that was made
    with the machine.

    Example::

        image, text = layer_on(client, base, "course/debian:bookworm-slim")
    """
    from helpers.engine import vm
    from helpers.images import build

    if vm.is_ours(client) and (there := client.images.list(f"{tag}-host")):  # all builds in its cache begin with it
        return there[0], f"{tag}-host: with the settings of the computer that made this virtual machine"
    bundle, settings, left_out = certificate_bundle(), *pip_settings()
    warning = "; an index address with a password was left out" if left_out else ""
    if not bundle and not settings:
        return image, f"{tag}: this computer has no certificates or pip settings of its own{warning}"
    with tempfile.TemporaryDirectory(prefix="docker-course-") as folder:
        context = Path(folder)
        lines = ["[global]", *(f"{key} = {value}" for key, value in sorted(settings.items()))]
        if bundle:
            (context / "docker-course-ca.pem").write_bytes(bundle.read_bytes())
            lines.append("cert = /etc/docker-course-ca.pem")
        (context / "pip.conf").write_text("\n".join(lines) + "\n")
        (context / "Dockerfile").write_text(DOCKERFILE)
        (context / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")
        for file in context.iterdir():
            file.chmod(0o644)
        made = build(client, context, tag=f"{tag}-host", base=image)
    added = [*(["certificate authorities"] if bundle else []), *(["pip settings"] if settings else [])]
    return made, f"{tag}-host: with this computer's {' and '.join(added)} in one layer{warning}"


def certificate_bundle():
    """Return the file with this computer's own certificate authorities, or None where it uses the public ones."""
    for name in BUNDLES:
        path = Path(os.environ.get(name, ""))
        if os.environ.get(name) and path.is_file():
            return path
    if SYSTEM_BUNDLE.is_file() and any(OWN_AUTHORITIES.rglob("*.crt")):
        return SYSTEM_BUNDLE
    return None


def pip_settings():
    """Return ``(settings, left_out)``: pip's addresses that hold in a container, and those with a password."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
    settings, left_out = {}, []
    for line in done.stdout.splitlines():
        key, _, value = line.partition("=")
        key, value = key.rpartition(".")[2], value.strip("'\"")
        if key not in PIP_SETTINGS:
            continue
        words = value.replace("\\n", " ").split()
        if key.endswith("index-url"):
            left_out += [word for word in words if urlsplit(word).password]
            words = [w for w in words if w.startswith(("http://", "https://")) and not urlsplit(w).password]
        if words:
            settings[key] = " ".join(words)
    return settings, left_out
