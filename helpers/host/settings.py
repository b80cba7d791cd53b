"""What this computer knows of its network and a build must know too: certificate authorities and pip's settings."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

BUNDLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
OWN_AUTHORITIES = Path("/usr/local/share/ca-certificates")
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "timeout", "default-timeout")


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
    """Return ``(settings, left_out)``: pip's addresses that hold in a container; those with a password, or of files."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
    settings, left_out = {}, []
    for line in done.stdout.splitlines():
        key, _, value = line.partition("=")
        key, value = key.rpartition(".")[2], value.strip("'\"")
        if key not in PIP_SETTINGS:
            continue
        words = value.replace("\\n", " ").split()
        if key.endswith("index-url"):
            taken = [w for w in words if w.startswith(("http://", "https://")) and not urlsplit(w).password]
            left_out += [word for word in words if word not in taken]
            words = taken
        if words:
            settings[key] = " ".join(words)
    return settings, left_out


def within(bundle, most_bytes):
    """Return a certificate bundle's bytes; of a larger one than ``most_bytes``, this computer's own authorities."""
    content = bundle.read_bytes()
    if len(content) <= most_bytes:
        return content
    return b"\n".join(path.read_bytes() for path in sorted(OWN_AUTHORITIES.rglob("*.crt")))[:most_bytes]


@contextlib.contextmanager
def own_authorities():
    """Hide the variables by which requests would take a proxy's certificate authority for an engine's."""
    hidden = {name: os.environ.pop(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
