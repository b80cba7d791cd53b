"""What this computer knows of its network reaches the steps of a build that need it, and nothing else."""

import hashlib
import json
import os
import secrets

import docker
import pytest
from docker.utils.proxy import ProxyConfig
from samples import all_bytes, file_in, folder_of

from helpers import build, build_steps, run
from helpers.host import settings
from helpers.images import pip_secrets
from helpers.images.layers import files_of_layers
from helpers.measure import builders
from helpers.progress import is_closed_bar

PLACES = ("/etc/pip.conf", "/etc/docker-course-ca.pem")
SEVERAL = r"""FROM debian:trixie-slim
# pip is named here, and nobody calls it
RUN apt-get update && apt-get install -y python3-pip
  run   venv/bin/PIP install a
RUN --mount=type=cache,target=/root/.cache \
  # still the same
  pip3 install b
RUN ["pip", "install", "c"]
RUN <<EOF
pip install d
EOF
COPY pip /
CMD pip
"""


@pytest.fixture
def given(monkeypatch):
    """Have this computer have a pip.conf and a certificate, both known by their words; return these."""
    words = {name: f"# {secrets.token_hex(12)}\n".encode() for name in pip_secrets.TARGETS}
    monkeypatch.setattr(pip_secrets, "files", lambda: words)
    return words


@pytest.fixture
def none_kept():
    """Have what this computer has looked for once more, and told once more."""

    def forget():
        pip_secrets.files.cache_clear()
        pip_secrets._found.cache_clear()
        pip_secrets._printed.clear()

    forget()
    yield
    forget()


def test_pip_installs(client, base, own_tag, tmp_path):
    """A small package from PyPI, through whatever this computer needs; nothing of that is in the image."""
    text = f"""FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv
RUN python3 -m venv /venv && echo {secrets.token_hex(4)} && /venv/bin/pip install --no-cache-dir iniconfig
"""
    image = build(client, folder_of(tmp_path, Dockerfile=text), tag=own_tag)
    look = "ls /venv/lib/python3*/site-packages/iniconfig; ls /etc/pip.conf /etc/docker-course-ca.pem 2>&1 || true"
    shown = run(client, image, ["sh", "-c", look], remove=True)
    assert b"__init__.py" in shown and shown.count(b"No such file") == 2


def test_only_steps_that_name_pip_take_them(client, given):
    """In either case, after other flags, as a list, in a heredoc; comments and other instructions stay as they are."""
    text, found = pip_secrets.added(client, SEVERAL)
    assert found == given
    before, after = SEVERAL.splitlines(), text.splitlines()
    assert [n for n, (one, other) in enumerate(zip(before, after, strict=True)) if one != other] == [3, 4, 7, 8]
    assert after[3] == f"  run   {pip_secrets.MOUNTS}venv/bin/PIP install a"
    assert after[4] == f"RUN {pip_secrets.MOUNTS}--mount=type=cache,target=/root/.cache \\"
    assert after[8] == f"RUN {pip_secrets.MOUNTS}<<EOF"


@pytest.mark.parametrize("text", ["FROM a\r\nRUN pip \\\r\n x\r\n", "\ufeffFROM a\nRUN pip", "FROM a\n\n\nRUN pip\n\n"])
def test_the_rest_stays_byte_for_byte(client, given, text):
    """Line ends, a BOM, empty lines."""
    assert pip_secrets.added(client, text)[0].replace(pip_secrets.MOUNTS, "") == text


def test_the_step_gets_them_and_the_image_does_not(client, base, own_tag, tmp_path, given):
    """A step reads both; no layer, no history, no configuration and no name of a step has a word of them."""
    command = f"cat /etc/pip.conf /etc/docker-co*.pem | md5sum > /seen; echo {secrets.token_hex(4)}"
    text = f"FROM debian:trixie-slim\nRUN {command}\n"
    image = build(client, folder_of(tmp_path, Dockerfile=text), tag=own_tag)
    whole = run(client, image, ["sh", "-c", f"cat /seen; ls {' '.join(PLACES)} 2>&1 || true"], remove=True).decode()
    assert whole.split()[0] == hashlib.md5(b"".join(given.values())).hexdigest()
    assert whole.count("No such file") == 2
    told = json.dumps([image.attrs, image.history(), build_steps(image)])
    saved = all_bytes(image)
    for word in (*(value.decode().strip("# \n") for value in given.values()), *given, "type=secret"):
        assert word not in told and word.encode() not in saved
    assert [path for path, _ in files_of_layers(image)[-1]["largest"]] == ["/seen"]  # no empty file either


def test_other_certificates_are_no_other_step(client, base, own_tag, tmp_path, monkeypatch, given):
    """What is in them is no part of the cache: a renewed certificate builds nothing once more."""
    text = f"FROM debian:trixie-slim\nRUN cat /proc/sys/kernel/random/uuid > /id # pip {secrets.token_hex(4)}\n"
    folder_of(tmp_path, Dockerfile=text)
    first = file_in(client, build(client, tmp_path, tag=own_tag), "/id")
    monkeypatch.setattr(pip_secrets, "files", lambda: {**given, "docker-course-ca": b"another\n"})
    assert file_in(client, build(client, tmp_path, tag=own_tag), "/id") == first


def test_none(client, monkeypatch, tmp_path, none_kept, capsys):
    """A computer without settings of its own changes no Dockerfile."""
    for name in [name for name in os.environ if name.startswith("PIP_") or name in settings.BUNDLES]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(settings, "OWN_AUTHORITIES", tmp_path)
    with pip_secrets.told():
        assert pip_secrets.added(client, SEVERAL) == (SEVERAL, {})
    assert capsys.readouterr().out == ""


def test_what_is_found(monkeypatch, tmp_path, none_kept):
    """An index address and a bundle make a pip.conf that names the bundle's place in the step."""
    (tmp_path / "ca.pem").write_text("a certificate\n")
    for name in settings.BUNDLES:
        monkeypatch.setenv(name, str(tmp_path / "ca.pem"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    found = pip_secrets.files()
    assert found["docker-course-ca"] == b"a certificate\n"
    lines = found["docker-course-pip"].decode().splitlines()
    assert lines[0] == "[global]" and "index-url = https://index.example/simple" in lines
    assert lines[-1] == "cert = /etc/docker-course-ca.pem"


@pytest.fixture
def found(monkeypatch, tmp_path, none_kept):
    """Have this computer have a bundle and four indexes, two of which no build gets; return the bundle."""
    bundle = tmp_path / "ca.pem"
    bundle.write_text("a certificate\n")
    for name in settings.BUNDLES:
        monkeypatch.setenv(name, str(bundle))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "https://token@index.example/simple")
    others = "https://open.example/simple https://me:word@private.example/simple file:///srv/simple"
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", others)
    monkeypatch.setenv("PIP_TIMEOUT", "60")
    monkeypatch.delenv("PIP_DEFAULT_TIMEOUT", raising=False)
    return bundle


def test_one_line_says_what_a_build_got(client, own_tag, found, tmp_path, capsys):
    """Once: the bundle, the indexes' hosts, what was left out and why; no user, no password. Also where it fails."""
    folder_of(tmp_path, Dockerfile="FROM scratch\nCOPY Dockerfile /\n")
    build(client, tmp_path, tag=own_tag)
    assert "pip" not in capsys.readouterr().out
    folder_of(tmp_path, Dockerfile="FROM scratch\nRUN pip\n")
    told = (
        f"pip in a build gets this computer's certificates ({found}) and pip settings (index index.example, "
        "index open.example, timeout); no image keeps them. In a terminal, docker build does not: .github/SUPPORT.md "
        "says what to add; left out: index private.example (its address has a password), index file:///srv/simple "
        "(no container has it)\n"
    )
    for said in (told, ""):
        with pytest.raises(docker.errors.BuildError):
            build(client, tmp_path, tag=own_tag)
        assert capsys.readouterr().out == said


def test_the_line_is_in_no_stored_notebook(client, found, monkeypatch, capsys):
    """Other computers have other settings, or none: a notebook shows it, and tests and stored outputs leave it out."""
    shown = []
    monkeypatch.setattr("IPython.get_ipython", lambda: type("Shell", (), {"kernel": 1})())
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    with pip_secrets.told():
        pip_secrets.added(client, SEVERAL)
    assert f"certificates ({found})" in shown[0]["text/html"] and "this computer&#x27;s" in shown[0]["text/html"]
    assert is_closed_bar({"output_type": "display_data", "data": shown[0]}) and capsys.readouterr().out == ""


def test_only_what_is_left_out(client, found, monkeypatch, capsys):
    """A private index alone gives no build anything, which is told, too."""
    for name in (*settings.BUNDLES, "PIP_EXTRA_INDEX_URL", "PIP_TIMEOUT"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "OWN_AUTHORITIES", found.parent / "none")
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:word@private.example/simple")
    with pip_secrets.told():
        assert pip_secrets.added(client, SEVERAL) == (SEVERAL, {})
    assert capsys.readouterr().out.startswith("pip in a build goes without: index private.example (")


def test_a_large_bundle_is_cut_to_what_is_this_computers_own(monkeypatch, tmp_path):
    """BuildKit takes 500 kB for a secret: then the public authorities are left out, which the image has itself."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "company.crt").write_text("the company's\n")
    (tmp_path / "all.pem").write_text("x" * 600_000)
    monkeypatch.setattr(settings, "OWN_AUTHORITIES", tmp_path / "own")
    assert settings.within(tmp_path / "all.pem", pip_secrets.MOST_BYTES) == b"the company's\n"


def test_a_password_stays_out(monkeypatch):
    """An index address with a password is left out, and counted."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@pypi.example/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://open.example/simple")
    found, left_out = settings.pip_settings()
    assert len(left_out) == 1 and "secret" not in str(found)
    assert found["extra-index-url"] == "https://open.example/simple"


@pytest.mark.parametrize("builder", ["BuildKit", "the older one"])
def test_a_proxy_of_dockers_own_configuration(client, base, own_tag, monkeypatch, tmp_path, builder):
    """It reaches a build as it does by the docker command; the one on 127.0.0.1 does not."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    configured = ProxyConfig(http="http://proxy.example:3128", https="http://127.0.0.1:3128")
    monkeypatch.setattr(client.api, "_proxy_configs", configured)
    once = secrets.token_hex(4)  # proxies are no part of the cache's key
    text = f'FROM debian:trixie-slim\nRUN : {once}; echo "$http_proxy, ${{HTTPS_PROXY:-none}}" > /seen\n'
    folder = folder_of(tmp_path, Dockerfile=text)
    if builder == "BuildKit":
        image = build(client, folder, tag=own_tag)
    else:
        builders._stages_by_older_builder(client, folder, own_tag)
        image = client.images.get(f"{own_tag}-older")
    assert file_in(client, image, "/seen") == b"http://proxy.example:3128, none\n"
    client.images.remove(image.tags[0])


def test_a_proxy_reaches_the_build_and_no_layer(client, base, own_tag, monkeypatch, tmp_path):
    """Docker's predefined arguments: there during RUN, not in the history; a proxy on 127.0.0.1 is left out."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    once = secrets.token_hex(4)
    text = f'FROM debian:trixie-slim\nRUN : {once}; echo "$HTTP_PROXY, ${{HTTPS_PROXY:-none}}" > /seen\n'
    image = build(client, folder_of(tmp_path, Dockerfile=text), tag=own_tag)
    assert file_in(client, image, "/seen") == b"http://proxy.example:3128, none\n"
    assert "proxy.example" not in json.dumps([image.history(), image.attrs])
