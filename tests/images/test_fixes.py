"""Security fixes: Debian's order of versions, packages read from images, the live archive, and the record instead."""

import itertools
import random
from pathlib import Path

import docker
import pytest

from helpers import base_image, build, contents, run, security_fixes
from helpers.errors import CourseError
from helpers.images import fixes
from helpers.images.contents import installed_packages

VERSIONS = [
    "1.0", "1.0-0", "1.0-1", "1.0~rc1-1", "1.0+b1", "1.0a", "1.0.1", "1.", "1:0.9", "0:1.0", "2.36-9+deb12u7",
    "2.36-9+deb12u14", "3.0.22-1~deb12u2", "22.01+really26.02+dfsg-0+deb12u1", "20250419~deb12u2", "1.2-3-4", "1.0~~",
    "1.0~", "09", "9", "1.0Z", "1.0-a", "1.0-+",
]  # fmt: skip

STANZAS = """
cd /etc/apt
key=/usr/share/keyrings/debian-archive-keyring.gpg
if [ -s sources.list ]; then
  for part in $1 $1-security; do
    uri=$(awk -v part=$part '$3 == part {print $2}' sources.list)
    echo "Types: deb\\nURIs: $uri\\nSuites: $part\\nComponents: main\\nSigned-By: $key\\n"
  done > sources.list.d/debian.sources
  rm sources.list
fi
"""
BASES = {"bookworm": "debian:bookworm-slim", "trixie": "debian:trixie-slim"}
every_suite = pytest.mark.parametrize("suite", BASES)


@pytest.fixture(autouse=True)
def forget():
    """Ask again in each test, as a new kernel does."""
    fixes._newest.cache_clear()
    yield
    fixes._newest.cache_clear()


@pytest.mark.parametrize("given", ["debian:trixie-slim", None])
def test_what_is_no_image(given):
    """A name, or nothing, is told from an image."""
    with pytest.raises(CourseError, match="is not an image"):
        security_fixes(given)


def no_archive(*_):
    """Stand in for a container whose apt-get update does not get through."""
    raise docker.errors.ContainerError(None, 100, "sh", "debian", b"")


def test_the_order_of_versions_is_dpkgs(client, base):
    """Each pair of strange versions, and pairs out of the record, compare as dpkg itself says."""
    real = {version for suite in BASES for version in fixes._parse(fixes.record(suite))[1].values()}
    some = random.Random(8).sample(sorted(real), 80)
    pairs = [*itertools.product(VERSIONS, VERSIONS), *itertools.pairwise(some)]
    script = 'while read a b; do dpkg --compare-versions "$a" lt "$b" && echo 1 || echo 0; done <<END\n'
    script += "\n".join(f"{a} {b}" for a, b in pairs) + "\nEND\n"
    dpkgs = run(client, base, ["sh", "-c", script], remove=True, stderr=False).decode().split()
    assert [fixes.older(a, b) for a, b in pairs] == [answer == "1" for answer in dpkgs]


class TestInstalled:
    """What an image says of its own packages."""

    @pytest.mark.parametrize(
        ("name", "version"),
        [
            ("debian:bookworm-slim", "2.36-"),
            ("debian:trixie-slim", "2.41-"),
            ("gcr.io/distroless/python3-debian13", "2.41-"),
        ],
    )
    def test_as_many_as_contents_counts(self, client, name, version):
        """By dpkg's one file, and by the many files of distroless."""
        image = base_image(client, name)
        rows = installed_packages(image)
        assert len(rows) == contents(image)["packages"] > 20
        libc = next(row for row in rows if row["package"] == "libc6")
        assert libc["source"] == "glibc" and libc["version"].startswith(version)

    def test_dpkg_says_the_same(self, client, base):
        """The names and versions that dpkg-query prints."""
        form = ["dpkg-query", "--show", "--showformat", "${Package} ${Version} ${source:Package}\n"]
        printed = run(client, base, form, remove=True).decode().split("\n")
        rows = installed_packages(base)
        assert sorted(" ".join(row.values()) for row in rows) == sorted(line for line in printed if line)


class TestFixes:
    """Live where the archive answers, by the record where it does not, and always with a word on which it was."""

    @every_suite
    def test_live(self, client, suite, capsys):
        """The archive is asked once; where this machine has no way to it, that is a failure of this test."""
        image = base_image(client, BASES[suite])
        rows = security_fixes(image)
        assert f"{suite}: Debian's security archive answered" in capsys.readouterr().out
        assert {row["known_from"].partition(" of ")[0] for row in rows} == {"archive"}
        assert {"liblzma5", "libuuid1"} <= {row["package"] for row in rows if row["fix"]}
        security_fixes(image)
        assert capsys.readouterr().out == ""

    @every_suite
    def test_sources_as_the_public_image_has_them(self, client, suite, monkeypatch):
        """In stanzas, with the security archive in one of its own, and not in a sources.list."""
        monkeypatch.setattr(fixes, "ASK", STANZAS + fixes.ASK)
        date, versions = fixes._parse(fixes._ask(client, suite))
        assert len(date.split()) == 3 and len(versions) > 1000

    @every_suite
    def test_record(self, client, suite, capsys, monkeypatch):
        """Where the archive does not answer, the record does, with its date and with nearly the same packages."""
        image = base_image(client, BASES[suite])
        live = {row["package"] for row in security_fixes(image) if row["fix"]}
        fixes._newest.cache_clear()
        monkeypatch.setattr(fixes, "_ask", no_archive)
        rows = security_fixes(image)
        printed = capsys.readouterr().out.splitlines()[-1]
        assert "did not answer (apt-get update ended with 100)" in printed and " 20" in printed
        assert {row["known_from"].partition(" of ")[0] for row in rows} == {"record"}
        assert {"liblzma5", "libuuid1"} <= {row["package"] for row in rows if row["fix"]} <= live

    @every_suite
    def test_the_records_are_of_their_own_release(self, suite):
        """Nearly all versions of a record say of which release they are."""
        number = next(number for number, name in fixes.SUITES.items() if name == suite)
        _, versions = fixes._parse(fixes.record(suite))
        assert sum(f"deb{number}u" in version for version in versions.values()) > 0.8 * len(versions)

    def test_each_image_by_its_own_release(self, client, capsys):
        """Two releases in one notebook do not mix: the same package has another fix in each."""
        found = {}
        for suite, name in BASES.items():
            rows = security_fixes(base_image(client, name))
            found[suite] = next(row["fix"] for row in rows if row["package"] == "liblzma5")
        assert found["bookworm"].startswith("5.4.") and found["trixie"].startswith("5.8.")
        assert capsys.readouterr().out.count("archive answered") == 2

    def test_no_network(self, base, monkeypatch, capsys):
        """A container without a network gives the record, soon."""
        monkeypatch.setattr("helpers.images.fixes.run", lambda *a, **k: run(*a, **{**k, "network_mode": "none"}))
        assert security_fixes(base)[0]["known_from"].startswith("record of")
        assert "did not answer" in capsys.readouterr().out

    def test_an_old_package_misses_a_fix(self, base, monkeypatch):
        """Older than the fix, the same, newer, and never fixed."""
        monkeypatch.setattr(fixes, "_ask", lambda *_: "1 Jan 2026 00:00:00 UTC\n2.0-1+deb12u2 a b c\n1.9 a\n")
        versions = {"a": "2.0-1", "b": "2.0-1+deb12u2", "c": "2.0-1+deb12u10", "d": "1", "base-files": "12.4+deb12u5"}
        installed = [{"package": name, "version": version, "source": name} for name, version in versions.items()]
        monkeypatch.setattr(fixes, "installed_packages", lambda _: installed)
        rows = {row["package"]: row for row in security_fixes(base)}
        assert {name: (row["fix"], row["missing"]) for name, row in rows.items() if name != "base-files"} == {
            "a": ("2.0-1+deb12u2", True),
            "b": ("2.0-1+deb12u2", False),
            "c": ("2.0-1+deb12u2", False),
            "d": (None, False),
        }

    @pytest.mark.parametrize("release", ["11.1+deb11u9", "14", "12ubuntu4.6", "13.1ubuntu2"])
    def test_another_distribution_is_refused(self, base, monkeypatch, release):
        """Debian's archive says nothing of other distributions, and no wrong count is given."""
        rows = [{"package": "base-files", "version": release, "source": "base-files"}]
        monkeypatch.setattr(fixes, "installed_packages", lambda _: rows)
        with pytest.raises(CourseError, match="not of Debian 12 or 13"):
            security_fixes(base)

    @pytest.mark.parametrize("release", ["12.4+deb12u15", "13.8+deb13u8", "13.1", "13"])
    def test_releases(self, release):
        """As base-files of Debian has had them, of a release and of a point release."""
        rows = [{"package": "base-files", "version": release}]
        assert fixes._suite(rows) == fixes.SUITES[release[:2]]

    def test_an_image_without_packages(self, client, monkeypatch):
        """It gives no rows, and nobody is asked."""
        monkeypatch.setattr(fixes, "_ask", no_archive)
        assert security_fixes(base_image(client, "hello-world")) == []

    def test_a_frozen_image_misses_fixes(self, client, own_tag, capsys):
        """Debian 12 taken back to its last point release misses fixes, by the archive and by the record of it."""
        folder = Path(__file__).parents[2] / "notebooks" / "apps" / "distroless"
        base_image(client, "debian:bookworm-slim")
        frozen = build(client, folder, tag=own_tag, dockerfile="Dockerfile.frozen")
        assert {"perl-base", "liblzma5"} <= {row["package"] for row in security_fixes(frozen) if row["missing"]}
        assert "bookworm: Debian's security archive answered" in capsys.readouterr().out

    def test_an_empty_archive_is_no_answer(self, base, monkeypatch, capsys):
        """An index without packages is not "nothing had a fix"."""
        monkeypatch.setattr(fixes, "_ask", lambda *_: "1 Jan 2026 00:00:00 UTC\n")
        assert security_fixes(base)[0]["known_from"].startswith("record of")
        assert "did not answer" in capsys.readouterr().out
