"""Security fixes: which packages of an image have had one since their release, by Debian's own archive or a record."""

import functools
import re
from pathlib import Path

import docker
from debian.debian_support import NativeVersion

from helpers.containers.run import run
from helpers.errors import CourseError
from helpers.host.network import proxies_of
from helpers.images.bases import base_image
from helpers.images.contents import installed_packages
from helpers.progress import progress

FOLDER = Path(__file__).parent / "recipes" / "debian"
SUITES = {"12": "bookworm", "13": "trixie"}
RELEASE = re.compile(
    r"(\d+)(?:\.\d+)?(?:\+deb\d+u\d+)?"
)  # of the package base-files; that of Ubuntu 22.04 is 12ubuntu…
ASK = r"""
set -e
suite=$1
cd /etc/apt
mkdir /tmp/security  # only the security archive's lists, a twentieth of them all
cat sources.list sources.list.d/*.list 2>/dev/null | grep -e '-security ' > /tmp/security/a.list || true
cat sources.list.d/*.sources 2>/dev/null | awk -v RS= -v ORS='\n\n' '/-security/' > /tmp/security/a.sources || true
timeout 60 apt-get update -qq -o APT::Update::Error-Mode=any -o Acquire::Retries=0 -o Acquire::http::Timeout=10 \
  -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/tmp/security
cd /var/lib/apt/lists
sed -n 's/^Date: [A-Z][a-z]*, //p' *"$suite"-security_*Release
for index in *"$suite"-security_main_binary-*_Packages*; do
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

    The archive is asked once a kernel for each release of Debian, by ``apt-get update`` in a container of the release's
    base; where it does not answer, a dated record takes its place; it prints which it was. An image without Debian
    packages gives no rows. Fixes that came with a point release alone are not in that archive.
    SDK calls: ``client.api.get_archive``, ``client.containers.run``.

    Raises:
        CourseError: the image is not of Debian 12 (bookworm) or 13 (trixie).

    Example::

        [row["package"] for row in security_fixes(image) if row["fix"]]
    """
    if not isinstance(image, docker.models.images.Image):
        said, remedy = f"{type(image).__name__} is not an image", "give one: client.images.get('course/web')"
        raise CourseError("looking for security fixes", said, remedy)
    rows = installed_packages(image)
    if not rows:
        return []
    known_from, newest = _newest(image.client, _suite(rows))
    for row in rows:
        fix = newest.get(row["package"])
        row |= {"fix": fix, "missing": bool(fix and older(row["version"], fix)), "known_from": known_from}
    return rows


def _suite(rows):
    """Return the name of the Debian release that packages are of, by the version of base-files."""
    release = next((row["version"] for row in rows if row["package"] == "base-files"), "none")
    found = RELEASE.fullmatch(release)
    if not found or found[1] not in SUITES:
        remedy = "take an image made from Debian 12 or 13: base_image(client, 'debian:trixie-slim')"
        raise CourseError("looking for security fixes", f"base-files {release} is not of Debian 12 or 13", remedy)
    return SUITES[found[1]]


@functools.cache
def _newest(client, suite):
    """Return ``(known_from, versions)``: whose word it is, and the newest version of each package."""
    try:
        date, versions = _parse(_ask(client, suite))
    except (docker.errors.DockerException, CourseError) as error:
        date, versions = _parse(record(suite))
        status = getattr(error, "exit_status", None)
        why = f"apt-get update ended with {status}" if status else str(error).splitlines()[0]
        print(f"{suite}: Debian's security archive did not answer ({why}); taking the course's record of it, of {date}")
        return f"record of {date}", versions
    print(f"{suite}: Debian's security archive answered, with its state of {date}")
    return f"archive of {date}", versions


def record(suite):
    """Return what the archive had, as text: the lines of ``_ask``, with all packages of a version on one line."""
    return (FOLDER / f"security-fixes-{suite}.txt").read_text()


def _ask(client, suite):
    """Return what the archive has, as text: a date, then lines with a version and the packages that have it."""
    base = base_image(client, f"debian:{suite}-slim")
    command = ["sh", "-c", ASK, "sh", suite]
    with progress(total=None, desc=f"asking Debian's security archive about {suite}"):
        answer = run(client, base, command, remove=True, stderr=False, environment=proxies_of(client))
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
