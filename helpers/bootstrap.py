"""Base images made from Debian packages, for where no registry answers."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from helpers import apt, network, state
from helpers.errors import CourseError, message

BASES = Path(__file__).parent / "bases"
MERGED_USR = (
    "/usr/share/mmdebstrap/hooks/maybe-merged-usr"  # without it, bookworm brings usrmerge, and that all of perl
)
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SLIM = BASES / "debian" / "slim.sh"


def debian(client, tag):
    """Make a slim Debian image, such as ``course/debian:bookworm-slim``: apt and the essentials, as the public one."""
    with tempfile.TemporaryDirectory(prefix="docker-course-") as folder:
        load(client, tag, archive(tag, Path(folder) / "root.tar"))


def archive(tag, tar):
    """Make the root file system of a slim Debian image as a tar archive; return its path."""
    suite = tag.rpartition(":")[2].removesuffix("-slim")
    if not shutil.which("mmdebstrap"):
        apt.install("mmdebstrap", "debian-archive-keyring", why="a base image is to be made from Debian packages")
    command = [
        *_mmdebstrap(), "--variant=apt", f"--include={','.join(_includes(suite))}", f"--hook-dir={MERGED_USR}",
        f"--customize-hook={SLIM.read_text()}",
        "--skip=cleanup/apt/lists", '--aptopt=Acquire::Languages "none"',
        *keyring(), suite, str(tar), *sources(suite),
    ]  # fmt: skip
    run(command, f"making {tag}")
    return tar


def load(client, tag, tar):
    """Import a tar archive as an image that says it is the course's."""
    from helpers.progress import progress

    with progress(total=None, desc=f"importing {tag}"):
        repository, _, name = tag.partition(":")
        changes = ['CMD ["bash"]', f"LABEL {state.LABEL}=1"]
        answer = client.api.import_image(src=str(tar), repository=repository, tag=name, changes=changes)
    last = json.loads(answer.strip().splitlines()[-1])
    if "error" in last:
        raise CourseError(message(f"docker import {tag}", last["error"], "free disk space? python3 -m helpers doctor"))


def from_dockerfile(client, tag):
    """Build one of ``helpers/bases/`` on the Debian image."""
    from helpers.images import base_image, build

    name = tag.removeprefix("course/").partition(":")[0]
    build(client, BASES / name, tag=tag, base=base_image(client, "debian:bookworm-slim"))


RECIPES = {
    "debian:bookworm-slim": debian,
    "debian:trixie-slim": debian,
    "hello-world": from_dockerfile,
    "registry:2": from_dockerfile,
    "python:3.11-slim-bookworm": from_dockerfile,
    "gcr.io/distroless/python3-debian12": from_dockerfile,
}


def run(command, title):
    """Run mmdebstrap with a bar; it names its stages on stderr, in lines that begin with ``I:``."""
    from helpers.progress import progress

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
        down = "".join(f"the proxy {proxy} does not answer ({why}). " for proxy, why in network.silent())
        remedy = (
            f"{down}is a Debian mirror reachable? On another system: pull the image where a registry answers, "
            "then docker save there and docker load here"
        )
        raise CourseError(message(f"{title} with mmdebstrap", "\n".join(said[-8:]), remedy))


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
