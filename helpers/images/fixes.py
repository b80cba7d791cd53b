"""Security fixes: which packages of an image have had one since their release, by Debian's own archive or a record."""

import functools
import re
from pathlib import Path

import docker
from debian.debian_support import NativeVersion

from helpers.containers.run import run
from helpers.errors import CourseError
from helpers.host.network import proxies
from helpers.images.bases import base_image
from helpers.images.contents import installed_packages
from helpers.progress import progress

RECORD = Path(__file__).parent / "recipes" / "debian" / "security-fixes-bookworm.txt"
BOOKWORM = re.compile(r"12(\.\d+)?(\+deb12u\d+)?$")  # of the package base-files; that of Ubuntu 22.04 is 12ubuntu…
ASK = r"""
set -e
cd /etc/apt
mkdir /tmp/security  # only the security archive's lists, a twentieth of them all
cat sources.list sources.list.d/*.list 2>/dev/null | grep -e '-security ' > /tmp/security/a.list || true
cat sources.list.d/*.sources 2>/dev/null | awk -v RS= -v ORS='\n\n' '/-security/' > /tmp/security/a.sources || true
timeout 60 apt-get update -qq -o APT::Update::Error-Mode=any -o Acquire::Retries=0 -o Acquire::http::Timeout=10 \
  -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/tmp/security
cd /var/lib/apt/lists
sed -n 's/^Date: [A-Z][a-z]*, //p' *bookworm-security_*Release
for index in *bookworm-security_main_binary-*_Packages*; do
  /usr/lib/apt/apt-helper cat-file "$index" | awk '/^Package: /{p=$2} /^Version: /{v=$2} /^$/{print v, p}'
done
"""


def security_fixes(image: docker.models.images.Image) -> list[dict]:
    """
    Return the Debian packages of an image, with the newest security fix of each.

    Keys:
        package, version, source: the installed package, and what it is made from.
        fix: the version in Debian's security archive, None where there was no fix since the release.
        missing: whether the installed version is older than that.
        known_from: the archive or the record, and its date.

    The archive is asked once a kernel, by ``apt-get update`` in a container of the Debian
    base; where it does not answer, a dated record takes its place; it prints which it was. An image without Debian
    packages gives no rows. Fixes that came with a point release alone are not in that archive.
    SDK calls: ``client.api.get_archive``, ``client.containers.run``.

    Raises:
        CourseError: the image is not of Debian 12 (bookworm).

    Example::

        [row["package"] for row in security_fixes(image) if row["fix"]]
    """
    if not isinstance(image, docker.models.images.Image):
        said, remedy = f"{type(image).__name__} is not an image", "give one: client.images.get('course/web')"
        raise CourseError("looking for security fixes", said, remedy)
    rows = installed_packages(image)
    release = next((row["version"] for row in rows if row["package"] == "base-files"), "none")
    if rows and not BOOKWORM.match(release):
        remedy = "take an image made from Debian 12: base_image(client, 'debian:bookworm-slim')"
        raise CourseError("looking for security fixes", f"base-files {release} is not of Debian 12", remedy)
    known_from, newest = _newest(image.client)
    for row in rows:
        fix = newest.get(row["package"])
        row |= {"fix": fix, "missing": bool(fix and older(row["version"], fix)), "known_from": known_from}
    return rows


@functools.cache
def _newest(client):
    """Return ``(known_from, versions)``: whose word it is, and the newest version of each package."""
    try:
        date, versions = _parse(_ask(client))
    except (docker.errors.DockerException, CourseError) as error:
        date, versions = _parse(RECORD.read_text())
        status = getattr(error, "exit_status", None)
        why = f"apt-get update ended with {status}" if status else str(error).splitlines()[0]
        print(f"Debian's security archive did not answer ({why}); taking the course's record of it, of {date}")
        return f"record of {date}", versions
    print(f"Debian's security archive answered, with its state of {date}")
    return f"archive of {date}", versions


def _ask(client):
    """Return what the archive has, as text: a date, then lines with a version and the packages that have it."""
    base = base_image(client, "debian:bookworm-slim")
    with progress(total=None, desc="asking Debian's security archive"):
        answer = run(client, base, ["sh", "-c", ASK], remove=True, stderr=False, environment=proxies())
    return answer.decode()


def _parse(text):
    """Return ``(date, versions)`` from a first line with a date, and lines with a version and its packages."""
    date, _, rest = text.partition("\n")
    versions = {}
    for line in rest.splitlines():
        version, *packages = line.split()
        for package in packages:
            if package not in versions or older(versions[package], version):
                versions[package] = version
    if not versions:
        raise CourseError("reading Debian's security archive", "it lists no package", "try again later")
    return " ".join(date.split()[:3]), versions


def older(version, other):
    """
    Tell whether a Debian version comes before another, as ``dpkg --compare-versions`` does.

    Example::

        older("1.0~rc1", "1.0")  # True
    """
    return NativeVersion(version) < NativeVersion(other)
