"""Debian's root file systems, made from its packages by mmdebstrap, as root or as an ordinary user."""

import os
import shutil
import subprocess
from pathlib import Path

from helpers.errors import CourseError
from helpers.host import apt, network
from helpers.progress import progress

# without it, bookworm brings usrmerge, and that all of perl
MERGED_USR = "/usr/share/mmdebstrap/hooks/maybe-merged-usr"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def slim_archive(suite, tar, customize):
    """
    Make the root file system of a slim Debian as a tar archive; return its path.

    ``customize`` is a shell script that mmdebstrap runs before it packs the archive.

    Raises:
        CourseError: mmdebstrap cannot be installed, or it failed; with its last words.
    """
    if not shutil.which("mmdebstrap"):
        apt.install("mmdebstrap", "debian-archive-keyring", why="a base image is made from Debian packages")
    command = [
        *_mmdebstrap(), "--variant=apt", f"--include={','.join(_includes(suite))}", f"--hook-dir={MERGED_USR}",
        f"--customize-hook={customize}",
        "--skip=cleanup/apt/lists", '--aptopt=Acquire::Languages "none"',
        *keyring(), suite, str(tar), *sources(suite),
    ]  # fmt: skip
    run(command, f"making Debian {suite}")
    return tar


def run(command, title):
    """Run mmdebstrap with a bar; it names its stages on stderr, in lines that begin with ``I:``."""
    said = []
    with (
        progress(total=20, desc=title, unit="stage") as bar,
        subprocess.Popen(
            command,
            env={**os.environ, **network.variables()},
            text=True,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        ) as making,
    ):
        try:
            for line in making.stderr:
                said.append(line.rstrip())
                if line.startswith("I: "):
                    bar.set_postfix_str(line[3:60].strip(), refresh=False)
                    bar.update(1)
        except BaseException:
            making.terminate()
            raise
    if making.returncode:
        down = "".join(f"the proxy {proxy} does not answer ({why}). " for proxy, why in network.silent_proxies())
        remedy = (
            f"{down}is a Debian mirror reachable? On another system: pull the image where a registry answers, "
            "then docker save there and docker load here"
        )
        raise CourseError(f"{title} with mmdebstrap", "\n".join(said[-8:]), remedy)


def _mmdebstrap():
    """Return how mmdebstrap is called: an ordinary user, perhaps without namespaces, installs without a chroot."""
    ordinary = hasattr(os, "geteuid") and os.geteuid() != 0 and shutil.which("fakeroot")
    return ["fakeroot", "mmdebstrap", "--mode=chrootless"] if ordinary else ["mmdebstrap"]


def keyring():
    """Return mmdebstrap's option for Debian's own keys, for where apt trusts another distribution's."""
    return [f"--keyring={KEYRING}"] if Path(KEYRING).exists() else []


def _includes(suite):
    """Return the packages beside the essential ones; certificates too, where the mirror is reached by https."""
    https = any("https://" in line for line in sources(suite))
    return ["tzdata", "usr-is-merged", *(["ca-certificates"] if https else [])]


def sources(suite):
    """Return sources.list lines for this machine's own Debian mirror, or none: mmdebstrap then takes deb.debian.org."""
    if not shutil.which("apt-get"):
        return []
    form = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    done = subprocess.run(["apt-get", "indextargets", "--format", form], capture_output=True, text=True)
    mirrors = {}
    for line in done.stdout.splitlines():
        origin, label, uri = line.split("|")
        if origin == "Debian":
            mirrors.setdefault(label, uri.rstrip("/"))
    main = mirrors.get("Debian")
    if not main or main.startswith("http://deb.debian.org"):
        return []
    lines = [f"deb {main} {suite} main", f"deb {main} {suite}-updates main"]
    if "Debian-Security" in mirrors:
        lines.append(f"deb {mirrors['Debian-Security']} {suite}-security main")
    return lines
