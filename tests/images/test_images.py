"""Images: present, pulled, bootstrapped; builds that work and builds that fail; sizes, layers, contents."""

import io
import json
import os
import secrets
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import apart
import bcrypt
import docker
import pytest
from tqdm import tqdm

from helpers import base_image, build, compare, contents, layers, run, size, url
from helpers.errors import CourseError
from helpers.host import settings
from helpers.images import bases
from helpers.images.layers import compressed_size


def folder_of(path, **files):
    """Write files into a folder; ``Dockerfile`` is one of them."""
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


def notes(error):
    """Return the three sentences that ``explain`` added."""
    return "\n".join(error.__notes__)


@pytest.fixture
def registry(client):
    """Return a function that starts a registry on a free port of 127.0.0.1 and returns its address."""

    def start(user=None, password=None):
        settings, archive = {}, None
        if user:
            settings = {
                "REGISTRY_AUTH": "htpasswd",
                "REGISTRY_AUTH_HTPASSWD_REALM": "test",
                "REGISTRY_AUTH_HTPASSWD_PATH": "/etc/docker/registry/htpasswd",
            }
            archive = tar(
                {"htpasswd": f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n".encode()}
            )
        container = run(
            client, base_image(client, "registry:2"), detach=True, ports={"5000/tcp": None}, environment=settings
        )
        if archive:
            container.put_archive("/etc/docker/registry", archive)
        return url(container, 5000).removeprefix("http://")

    return start


def tar(files):
    """Return a tar archive with files, as bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def import_tiny(client, repository, tag="1", content=None):
    """Make an image of one file with random content, which no recipe would make; return its content."""
    content = content or secrets.token_bytes(200_000)
    client.api.import_image_from_data(tar({"only-here": content}), repository=repository, tag=tag)
    return content


def push(client, name):
    """Push, then forget the local name."""
    events = list(client.images.push(name, stream=True, decode=True))
    assert not [event for event in events if "error" in event], events
    client.images.remove(name)


def file_in(client, image, name):
    """Return a file's content out of an image."""
    container = client.api.create_container(image.id, command=["-"], labels={"org.docker-course": "1"})["Id"]
    try:
        chunks, _ = client.api.get_archive(container, name)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            return archive.extractfile(archive.getmembers()[0]).read()
    finally:
        client.api.remove_container(container, v=True)


class TestPull:
    """From a real registry, with and without a password; a silent bootstrap would fail these."""

    def test_without_password(self, client, registry, capsys):
        """An image that no recipe makes comes from the registry, and only its course name stays."""
        name = f"{registry()}/tests/only-here:1"
        content = import_tiny(client, name.removesuffix(":1"))
        push(client, name)
        image = base_image(client, name)
        try:
            assert file_in(client, image, "/only-here") == content
            assert image.tags == ["course/tests/only-here:1"]
            assert f"pulled as {name}" in capsys.readouterr().out
            base_image(client, name)
            assert "here already" in capsys.readouterr().out
        finally:
            client.images.remove("course/tests/only-here:1")

    def test_with_password(self, client, registry):
        """Refused without a login, with one sentence each; given after it."""
        password = secrets.token_urlsafe()
        address = registry("learner", password)
        name = f"{address}/tests/secret:1"
        content = import_tiny(client, name.removesuffix(":1"))
        client.login("learner", password, registry=address)
        push(client, name)
        del client.api._auth_configs["auths"][address]
        with pytest.raises(CourseError) as caught:
            base_image(client, name)
        assert f"docker pull {name}" in str(caught.value) and "auth" in str(caught.value)
        client.login("learner", password, registry=address)
        image = base_image(client, name)
        assert file_in(client, image, "/only-here") == content
        client.images.remove("course/tests/secret:1")

    def test_wrong_name(self, client, registry):
        """A registry that answers and has no such image."""
        with pytest.raises(CourseError) as caught:
            base_image(client, f"{registry()}/tests/nothing:1")
        assert "not found" in str(caught.value) or "unknown" in str(caught.value)
        assert "next:" in str(caught.value)

    def test_progress_counts_bytes_and_layers(self, client, registry, monkeypatch):
        """The bar ends at all bytes of all layers."""
        name = f"{registry()}/tests/bar:1"
        import_tiny(client, name.removesuffix(":1"))
        push(client, name)
        bars = []

        def remembered(**options):
            bars.append(tqdm(**options, file=io.StringIO()))
            return bars[0]

        monkeypatch.setattr(bases, "progress", remembered)
        bases.pull(client, name)
        client.images.remove(name)
        assert 0 < bars[0].total <= 250_000 and bars[0].n == bars[0].total
        assert "1 of 1 layers" in str(bars[0].postfix)

    @apart.needs_root
    def test_debian_from_a_mirror_on_an_empty_engine(self, client, registry, state_home, capsys):
        """Where a registry answers, Debian itself comes from there, although a recipe could make it."""
        address = registry()
        content = import_tiny(client, f"{address}/library/debian", "bookworm-slim")
        push(client, f"{address}/library/debian:bookworm-slim")
        with apart.empty_engine(state_home, {"registry-mirrors": [f"http://{address}"]}) as other:
            image = base_image(other, "debian:bookworm-slim")
            assert file_in(other, image, "/only-here") == content
            assert [tag for image in other.images.list() for tag in image.tags] == ["course/debian:bookworm-slim"]
        assert "pulled as debian:bookworm-slim" in capsys.readouterr().out


class TestHostSettings:
    """What this computer knows of its network reaches a build, and not the finished image."""

    def test_pip_works_in_a_build_and_the_final_stage_is_plain(self, client, base, tmp_path):
        """A small package from PyPI; the certificate bundle is in the builder only."""
        builder = base_image(client, "debian:bookworm-slim", with_settings=True)
        dockerfile = """
            ARG BASE
            ARG BUILDER
            FROM ${BUILDER} AS build
            LABEL org.docker-course=1
            RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv
            WORKDIR /app
            RUN python3 -m venv venv && venv/bin/pip install --no-cache-dir iniconfig
            RUN cp -r venv/lib/python3*/site-packages/iniconfig /iniconfig
            FROM ${BASE}
            LABEL org.docker-course=1
            COPY --from=build /iniconfig /iniconfig
        """
        folder_of(tmp_path, Dockerfile="\n".join(line.strip() for line in dockerfile.splitlines()))
        image = build(client, tmp_path, tag="course/test-settings", base=base, buildargs={"BUILDER": builder.tags[0]})
        try:
            shown = run(
                client,
                image,
                ["sh", "-c", "ls /iniconfig; ls /etc/pip.conf /etc/docker-course-ca.pem 2>&1 || true"],
                remove=True,
            )
            assert b"__init__.py" in shown and shown.count(b"No such file") == 2
        finally:
            client.images.remove("course/test-settings")

    def test_none(self, client, base, monkeypatch, tmp_path):
        """A computer without settings of its own gets the plain image."""
        for name in [name for name in os.environ if name.startswith("PIP_") or name in settings.BUNDLES]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setattr(settings, "OWN_AUTHORITIES", tmp_path)
        image, said = bases.add_host_settings(client, base, "course/debian:bookworm-slim")
        assert image.id == base.id and "no certificates or pip settings" in said

    def test_are_those_of_the_virtual_machine_in_it(self, client, base, monkeypatch):
        """There, the layer that was made with the machine is taken, whatever this computer has now."""
        from helpers.engine import vm

        tag = f"course/{secrets.token_hex(4)}"
        base.tag(f"{tag}-host")
        monkeypatch.setattr(vm, "is_ours", lambda client: True)
        monkeypatch.setattr(settings, "certificate_bundle", lambda: pytest.fail("looked for"))
        try:
            image, said = bases.add_host_settings(client, base, tag)
        finally:
            client.images.remove(f"{tag}-host")
        assert image == base and "made this virtual machine" in said

    def test_a_password_stays_out(self, monkeypatch):
        """An index address with a password is left out, and counted."""
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@pypi.example/simple")
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://open.example/simple")
        found, left_out = settings.pip_settings()
        assert len(left_out) == 1 and "secret" not in str(found)
        assert found["extra-index-url"] == "https://open.example/simple"

    def test_a_proxy_reaches_the_build_and_no_layer(self, client, base, monkeypatch, tmp_path):
        """Docker's predefined arguments: there during RUN, not in the history; a proxy on 127.0.0.1 is left out."""
        monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
        text = (
            'ARG BASE\nFROM ${BASE}\nLABEL org.docker-course=1\nRUN echo "$HTTP_PROXY, ${HTTPS_PROXY:-none}" > /seen\n'
        )
        image = build(client, folder_of(tmp_path, Dockerfile=text), tag="course/test-proxy", base=base)
        try:
            assert file_in(client, image, "/seen") == b"http://proxy.example:3128, none\n"
            assert "proxy.example" not in json.dumps([image.history(), image.attrs])
        finally:
            client.images.remove("course/test-proxy")


class TestBuild:
    """What is printed, what is returned, and how it fails."""

    def test_prints_the_steps_only(self, client, tmp_path, capsys):
        """Stable lines: no ids, no times, no output of commands."""
        folder_of(tmp_path, Dockerfile="FROM scratch\nLABEL org.docker-course=1\nCOPY a /\n", a="1")
        image = build(client, tmp_path, tag="course/test-steps")
        assert capsys.readouterr().out.splitlines() == [
            "Step 1/3 : FROM scratch",
            "Step 2/3 : LABEL org.docker-course=1",
            "Step 3/3 : COPY a /",
        ]
        assert isinstance(image, docker.models.images.Image) and image.tags == ["course/test-steps:latest"]
        client.images.remove("course/test-steps")

    @pytest.mark.parametrize(
        ("dockerfile", "tag", "tried", "said", "advice"),
        [
            (
                "FROM scratch\nINSTALL python\n",
                "x",
                "docker build -t course/x",
                "unknown instruction: INSTALL",
                "fix that line",
            ),
            ("FROM scratch\nCOPY missing /\n", "x", "Step 2/2 : COPY missing /", "missing", "COPY takes files"),
            (
                "FROM course/no-such-image\n",
                "x",
                "FROM course/no-such-image",
                "course/no-such-image|lookup|denied",
                "spelling|registry",
            ),
            ("FROM scratch\n", "Upper", "docker build -t course/Upper", "invalid", "lower case"),
            ("FROM Debian\n", "x", "FROM Debian", "must be lower", "lower case"),
            ("", "x", "docker build -t course/x", "cannot be empty", "begin the Dockerfile with FROM"),
            ("ARG BASE\nFROM ${BASE}\n", "x", "FROM ${BASE}", "blank", "base=base"),
        ],
        ids=["syntax", "missing file", "unknown base", "upper-case tag", "upper-case base", "empty", "no base"],
    )
    def test_bad_input(self, client, tmp_path, dockerfile, tag, tried, said, advice):
        """What was tried, what the engine said, what to do; and docker's own exception."""
        with pytest.raises(docker.errors.BuildError) as caught:
            build(client, folder_of(tmp_path, Dockerfile=dockerfile), tag=f"course/{tag}")
        text = notes(caught.value)
        assert tried in text
        assert [word for word in said.split("|") if word in text]
        assert [word for word in advice.split("|") if word in text.partition("next:")[2]]

    def test_a_base_that_the_dockerfile_does_not_take(self, client, base, tmp_path, capsys):
        """The engine's warning is passed on."""
        build(client, folder_of(tmp_path, Dockerfile="FROM scratch\nCOPY Dockerfile /\n"), tag="course/x", base=base)
        client.images.remove("course/x")
        assert "[BASE" in capsys.readouterr().out

    def test_a_name_for_an_image(self):
        """What reads an image takes the image, and says so."""
        with pytest.raises(CourseError, match=r"client\.images\.get\('course/first'\)"):
            size("course/first")

    def test_failing_run(self, client, base, tmp_path):
        """The failing instruction, the tail of its log, and the whole log on the exception."""
        text = "ARG BASE\nFROM ${BASE}\nLABEL org.docker-course=1\nRUN echo first; echo the reason >&2; exit 3\n"
        with pytest.raises(docker.errors.BuildError) as caught:
            build(client, folder_of(tmp_path, Dockerfile=text), tag="course/test-fails", base=base)
        said = notes(caught.value)
        assert "stopped at Step 4/4 : RUN echo first" in said and "code: 3" in said
        answer = said[said.index("answer: ") + 8 : said.index("  next: ")].splitlines()
        assert sorted(line.strip() for line in answer[:-1]) == ["first", "the reason"]  # no colours, no ids
        assert "the reason" in "".join(caught.value.build_log)
        assert caught.value._render_traceback_() == [f"BuildError: {said}"]

    def test_no_network(self, client, base, tmp_path):
        """A RUN that needs the network, in a build without one."""
        step = "RUN apt-get -o Acquire::Retries=0 update --error-on=any"
        folder_of(tmp_path, Dockerfile=f"ARG BASE\nFROM ${{BASE}}\nLABEL org.docker-course=1\n{step}\n")
        with pytest.raises(docker.errors.BuildError) as caught:
            build(client, tmp_path, tag="course/test-offline", base=base, network_mode="none")
        assert f"stopped at Step 4/4 : {step}" in notes(caught.value)
        assert "Failed to fetch" in notes(caught.value) and "is this computer online?" in notes(caught.value)

    def test_missing_folder(self, client):
        """The folder from which it was looked for is named."""
        with pytest.raises(CourseError) as caught:
            build(client, "no-such-folder", tag="course/x")
        assert "docker build no-such-folder" in str(caught.value) and str(Path.cwd()) in str(caught.value)

    def test_missing_dockerfile(self, client, tmp_path):
        """A folder without one."""
        with pytest.raises(docker.errors.BuildError) as caught:
            build(client, tmp_path, tag="course/x", dockerfile="Dockerfile.other")
        assert "dockerfile=" in notes(caught.value)

    def test_interrupted(self, client, base, tmp_path):
        """Ctrl-C in a RUN: no container of the build is left."""
        marker = secrets.token_hex(8)
        text = f"ARG BASE\nFROM ${{BASE}}\nLABEL org.docker-course=1 marker={marker}\nRUN sleep 300\n"
        folder_of(tmp_path, Dockerfile=text)
        arguments = f"{str(tmp_path)!r}, tag='course/x', base={base.tags[0]!r}"
        code = f"from helpers import build, engine; build(engine.find()[0], {arguments})"
        building = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        while "sleep" not in building.stdout.readline():
            pass
        found = {"filters": {"label": f"marker={marker}"}, "ignore_removed": True}
        deadline = time.monotonic() + 30
        while not client.containers.list(**found) and time.monotonic() < deadline:
            time.sleep(0.1)
        building.send_signal(signal.SIGINT)
        assert building.wait(30) != 0
        while client.containers.list(all=True, **found) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert client.containers.list(all=True, **found) == []


@pytest.fixture
def tiny(client, tmp_path):
    """Return an image with two files in two layers."""
    text = "FROM scratch\nLABEL org.docker-course=1\nCOPY a /bin/sh\nCOPY b /b\nENV X=1\nUSER 7\n"
    folder_of(tmp_path, Dockerfile=text, a="x" * 1000, b="y" * 234)
    (tmp_path / "a").chmod(0o755)
    (tmp_path / "b").chmod(0o644)
    yield build(client, tmp_path, tag="course/test-tiny")
    client.images.remove("course/test-tiny")


class TestSizes:
    """Exact bytes of an image that is known."""

    def test_size_and_layers(self, tiny):
        """Each instruction with its bytes, oldest first."""
        assert size(tiny) == 1234
        rows = layers(tiny)
        assert [row["bytes"] for row in rows if row["bytes"]] == [1000, 234]
        assert [row["instruction"] for row in rows[-4:]] == ["COPY … /bin/sh", "COPY … /b", "ENV X=1", "USER 7"]

    def test_compare(self, tiny):
        """One row an image."""
        row = compare({"tiny": tiny}, compressed=True)[0]
        assert {key: row[key] for key in ("name", "bytes", "layers", "user")} == {
            "name": "tiny", "bytes": 1234, "layers": 2, "user": "7"
        }  # fmt: skip
        assert 100 < row["compressed_bytes"] < 10_000

    def test_compressed_size_is_that_of_gzip(self, client):
        """Random bytes do not shrink; zeros nearly vanish."""
        for content, low, high in ((secrets.token_bytes(300_000), 300_000, 320_000), (bytes(300_000), 100, 5000)):
            import_tiny(client, "course/test-gzip", content=content)
            assert low < compressed_size(client.images.get("course/test-gzip:1")) < high
            client.images.remove("course/test-gzip:1")

    def test_contents(self, client, tiny):
        """Counts from the file system, and nothing left behind."""
        before = (client.containers.list(all=True), client.volumes.list())
        row = contents(tiny)
        assert row == {"files": 2, "bytes": 1234, "executables": 1, "setuid": 0, "shells": ["sh"], "packages": 0}
        assert (client.containers.list(all=True), client.volumes.list()) == before

    def test_contents_of_debian(self, base):
        """A distribution has shells, packages and set-uid programs."""
        row = contents(base)
        assert row["shells"] == ["bash", "dash", "sh"] and row["packages"] > 70 and row["setuid"] >= 1
