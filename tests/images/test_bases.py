"""Base images from Debian packages, where no registry answers."""

import json
from types import SimpleNamespace

import apart
import docker
import pytest

from helpers import base_image, contents, run, size
from helpers.errors import CourseError
from helpers.host import mmdebstrap
from helpers.images import bases


@apart.needs_root
def test_on_an_empty_engine(state_home, capsys):
    """A registry that refuses is named, and the image that was made works and is as small as the public one."""
    with apart.empty_engine(state_home, {}, HTTPS_PROXY="http://127.0.0.1:9") as other:
        image = base_image(other, "debian:trixie-slim")
        said = capsys.readouterr().out
        assert "could not be pulled" in said and "made from Debian packages" in said
        assert image.tags == ["debian:trixie-slim"] and image.labels["org.docker-course.base"] == "1"
        assert size(image) < 90e6
        look = "readlink /bin; apt-get --version | head -1; . /etc/os-release; echo $VERSION_CODENAME; apt-config dump"
        shown = other.containers.run(image, ["sh", "-c", look], network_mode="none", remove=True)
        lines = shown.decode().split("\n")
        assert lines[0] == "usr/bin" and lines[1].startswith("apt ") and lines[2] == "trixie"
        assert 'Dir::Cache::pkgcache "";' in lines and 'Acquire::GzipIndexes "true";' in lines
        assert contents(image)["packages"] < 100


@apart.needs_root
def test_an_ordinary_user_without_mmdebstrap(tmp_path):
    """The command to type is named."""
    code = """
        from helpers.images import bases
        os.environ["PATH"] = "/nonexistent"
        become_nobody()
        try:
            bases.debian_archive("debian:trixie-slim", "/tmp/root.tar")
        except Exception as error:
            print(type(error).__name__, error)
    """
    said = apart.python(code).stdout
    assert said.startswith("CourseError") and "mmdebstrap" in said


@apart.needs_root
@pytest.mark.engine  # it installs mmdebstrap where that is missing, as for an image
def test_no_debian_mirror(monkeypatch, tmp_path):
    """Its own words, and what else can be done."""
    monkeypatch.setattr(mmdebstrap, "sources", lambda suite: [f"deb copy:/nonexistent {suite} main"])
    with pytest.raises(CourseError) as caught:
        bases.debian_archive("debian:trixie-slim", tmp_path / "root.tar")
    assert "mmdebstrap" in str(caught.value) and "docker save" in str(caught.value)


@pytest.mark.parametrize("answer", [{"errorDetail": {"message": "no room"}}, {"error": "no room"}], ids=str)
def test_an_import_that_fails(answer):
    """From API 1.48 on the answer may have errorDetail alone; before, error stands beside it."""
    said = json.dumps({"status": "extracting"}) + "\n" + json.dumps(answer) + "\n"
    engine = SimpleNamespace(api=SimpleNamespace(import_image=lambda **_: said))
    with pytest.raises(CourseError, match="no room"):
        bases.load_archive(engine, "debian:trixie-slim", "root.tar")


def test_distroless_has_python_and_nothing_to_start_beside_it(client):
    """Users, certificates, time zones and modules in C, as in the public one; no shell, no package manager."""
    image = base_image(client, "gcr.io/distroless/python3-debian13")
    look = """
import bz2, ctypes, lzma, os, pwd, readline, sqlite3, ssl, stat, sys, uuid, zoneinfo
assert sys.version_info[:2] == (3, 13) and os.getuid() == 0, (sys.version, os.getuid())
assert ssl.create_default_context().cert_store_stats()["x509_ca"] > 100
assert zoneinfo.ZoneInfo("Europe/Paris") and pwd.getpwnam("nonroot").pw_uid == 65532
assert stat.S_IMODE(os.stat("/tmp").st_mode) == 0o1777 and os.stat("/home/nonroot").st_uid == 65532
print(*{name for path in os.get_exec_path() if os.path.isdir(path) for name in os.listdir(path)})
"""
    programs = run(client, image, ["-c", look], remove=True, network_mode="none").decode().split()
    assert programs and all(name.startswith("python") for name in programs)
    found = contents(image)
    assert not found["shells"] and not found["setuid"] and 30 <= found["packages"] <= 40
    home = "import os; open(os.path.expanduser('~/mine'), 'w'); open('/tmp/mine', 'w')"
    run(client, image, ["-c", home], user="65532", environment={"HOME": "/home/nonroot"}, remove=True)


def test_slim_python_has_pip_that_installs(client):
    """``python`` and ``pip`` by their names, and an image in which pip may install for all."""
    image = base_image(client, "python:3.13-slim-trixie")
    script = "python --version && pip --version && pip install --quiet --no-index --dry-run /nowhere"
    with pytest.raises(docker.errors.ContainerError) as caught:
        run(client, image, ["sh", "-c", script], remove=True, network_mode="none")
    assert b"externally" not in caught.value.stderr and b"/nowhere" in caught.value.stderr
    assert run(client, image, remove=True) == b""  # its own command is Python, without input
