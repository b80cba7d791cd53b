"""What this computer knows of its network reaches a build, and not the finished image."""

import json
import os
import textwrap

import pytest
from samples import file_in, folder_of, import_tiny

from helpers import base_image, build, run
from helpers.host import settings
from helpers.images import bases

STAGES = """
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


def test_pip_works_in_a_build_and_the_final_stage_is_plain(client, base, own_tag, tmp_path):
    """A small package from PyPI; the certificate bundle is in the builder only."""
    builder = base_image(client, "debian:bookworm-slim", with_host_settings=True)
    folder_of(tmp_path, Dockerfile=textwrap.dedent(STAGES))
    image = build(client, tmp_path, tag=own_tag, base=base, buildargs={"BUILDER": builder.id})
    look = "ls /iniconfig; ls /etc/pip.conf /etc/docker-course-ca.pem 2>&1 || true"
    shown = run(client, image, ["sh", "-c", look], remove=True)
    assert b"__init__.py" in shown and shown.count(b"No such file") == 2


def test_none(client, base, monkeypatch, tmp_path):
    """A computer without settings of its own gets the plain image."""
    for name in [name for name in os.environ if name.startswith("PIP_") or name in settings.BUNDLES]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(settings, "OWN_AUTHORITIES", tmp_path)
    image, said = bases.add_host_settings(client, base, "course/debian:bookworm-slim")
    assert image.id == base.id and "no certificates or pip settings" in said


def test_are_those_of_the_virtual_machine_in_it(client, own_tag, monkeypatch):
    """There, the layer that was made with the machine is taken, whatever this computer has now."""
    import_tiny(client, own_tag, "1")
    import_tiny(client, own_tag, "1-host")
    image, made = client.images.get(f"{own_tag}:1"), client.images.get(f"{own_tag}:1-host")
    monkeypatch.setattr(bases.engine, "is_machine", lambda client: True)
    monkeypatch.setattr(settings, "certificate_bundle", lambda: pytest.fail("looked for"))
    found, said = bases.add_host_settings(client, image, f"{own_tag}:1")
    assert found == made and "made this virtual machine" in said


def test_a_password_stays_out(monkeypatch):
    """An index address with a password is left out, and counted."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@pypi.example/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://open.example/simple")
    found, left_out = settings.pip_settings()
    assert len(left_out) == 1 and "secret" not in str(found)
    assert found["extra-index-url"] == "https://open.example/simple"


def test_a_proxy_reaches_the_build_and_no_layer(client, base, own_tag, monkeypatch, tmp_path):
    """Docker's predefined arguments: there during RUN, not in the history; a proxy on 127.0.0.1 is left out."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    text = 'ARG BASE\nFROM ${BASE}\nLABEL org.docker-course=1\nRUN echo "$HTTP_PROXY, ${HTTPS_PROXY:-none}" > /seen\n'
    image = build(client, folder_of(tmp_path, Dockerfile=text), tag=own_tag, base=base)
    assert file_in(client, image, "/seen") == b"http://proxy.example:3128, none\n"
    assert "proxy.example" not in json.dumps([image.history(), image.attrs])
