"""The doctor tells the situations apart: each is produced, and read as a learner reads it."""

import hashlib
import json
import textwrap

import apart
import pytest

from helpers.engine import doctor, running
from helpers.engine.unavailable import Unavailable

pytestmark = apart.needs_root

EXAMINE = "sys.exit(doctor.main())"
WITHOUT_DOCKER = "running.SYSTEM_PROGRAMS = '/nonexistent';"
LISTEN = """
import socket
server = socket.socket(socket.AF_UNIX)
server.bind("/run/docker.sock")
server.listen()
"""
ANSWER = """
import http.server, socketserver, threading
class Engine(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = VERSION.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def address_string(self): return "client"
    def log_message(self, *_): pass
server = socketserver.UnixStreamServer("/run/docker.sock", Engine)
threading.Thread(target=server.serve_forever, daemon=True).start()
"""


def rows(done):
    """Return what the doctor printed, as ``{check: (state, said, next)}``."""
    found, check = {}, None
    for line in done.stdout.splitlines():
        if line.startswith(("ok ", "note ", "problem ")):
            state, check, said = line.split(None, 2)
            found[check] = (state, said, "")
        elif line.strip().startswith("next: "):
            found[check] = (*found[check][:2], line.strip().removeprefix("next: "))
    assert "Traceback" not in done.stderr, done.stderr
    return found


def test_nothing_installed(tmp_path):
    """An ordinary user on a machine without Docker is told how to install it."""
    done = apart.python(WITHOUT_DOCKER + f"os.environ['PATH'] = {str(tmp_path)!r}; become_nobody();" + EXAMINE)
    state, said, remedy = rows(done)["running"]
    assert (state, said) == ("problem", "missing: no Docker Engine is installed here")
    assert "apt-get install docker.io" in remedy
    assert done.returncode == 1


def test_root_is_told_that_docker_will_be_installed(tmp_path):
    """As root on a Debian system without Docker, the course installs it: that is no problem."""
    (tmp_path / "apt-get").symlink_to("/bin/true")
    done = apart.python(
        WITHOUT_DOCKER + f"os.environ['PATH'] = {str(tmp_path)!r};" + EXAMINE,
        XDG_STATE_HOME=str(tmp_path / "state"),
        COURSE_ENGINE="dockerd",
    )
    state, said, _ = rows(done)["dockerd"]
    assert state == "ok" and "docker.io will be installed" in said
    assert done.returncode == 0


@pytest.mark.engine  # installed, if not started
def test_installed_and_not_running():
    """Docker is there, its engine is not up; an ordinary user's PATH does not even lead to dockerd."""
    code = "os.environ['PATH'] = '/usr/bin:/bin'; become_nobody();"
    state, said, remedy = rows(apart.python(code + EXAMINE))["running"]
    assert state == "problem" and said.startswith("not running: Docker is installed")
    assert "systemctl start docker" in remedy


def test_permission_denied():
    """The socket belongs to root and the docker group: the remedy is that group, with its danger named."""
    code = LISTEN + "os.chmod('/run/docker.sock', 0o660); become_nobody();" + EXAMINE
    state, said, remedy = rows(apart.python(code))["running"]
    assert state == "problem" and said.startswith("permission denied:")
    assert "usermod -aG docker nobody" in remedy and "root" in remedy


def test_permission_denied_until_the_next_login(tmp_path):
    """Who was added to the group after logging in has to log in again, not to be added again."""
    code = """
        lines = open("/etc/group").read().splitlines()
        lines = [line for line in lines if not line.startswith("docker:")] + ["docker:x:990:nobody"]
        open(GROUP, "w").write("\\n".join(lines) + "\\n")
        subprocess.run(["mount", "--bind", GROUP, "/etc/group"], check=True)
        os.chmod("/run/docker.sock", 0o660); become_nobody()
        sys.exit(doctor.main())
    """
    done = apart.python(f"GROUP = {str(tmp_path / 'group')!r}\n" + LISTEN + textwrap.dedent(code))
    _, said, remedy = rows(done)["running"]
    assert said.startswith("permission denied:")
    assert "newgrp docker" in remedy and "usermod" not in remedy


def test_refused():
    """A socket file that an engine left behind."""
    state, said, remedy = rows(
        apart.python(LISTEN + "server.close(); os.chmod('/run/docker.sock', 0o666); become_nobody();" + EXAMINE)
    )["running"]
    assert state == "problem" and said.startswith("refused:") and "no engine listens" in said
    assert "start docker" in remedy


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("tcp://127.0.0.1:9", "refused:"),
        ("unix:///nowhere/docker.sock", "nowhere:"),
        ("tcp://no-such-host.invalid:2375", "nowhere:"),
        ("nonsense", "nowhere:"),
    ],
)
def test_docker_host_points_nowhere(address, word):
    """DOCKER_HOST is named as the culprit, and unset as the remedy."""
    code = "subprocess.run(['ip', 'link', 'set', 'lo', 'up']); become_nobody();" + EXAMINE
    done = apart.python(code, network=address.startswith("tcp"), DOCKER_HOST=address)
    state, said, remedy = rows(done)["running"]
    assert state == "problem" and said.startswith(word) and "DOCKER_HOST" in said
    assert "unset DOCKER_HOST" in remedy
    assert done.returncode == 1
    assert "no engine can be used" in done.stdout


def test_what_is_used_in_place_of_an_address(monkeypatch, capsys):
    """The last line says which engine it is, and that it is not the one that was named."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    monkeypatch.setattr(doctor, "examine", lambda: [{"check": "vm", "state": "ok", "said": "there", "next": ""}])
    assert doctor.main() == 0
    assert capsys.readouterr().out.endswith("\nan engine can be used: vm, and not what DOCKER_HOST names\n")


def test_a_context_that_is_not_there(monkeypatch):
    """Named, and not passed over for the default socket."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONTEXT", "nosuch")
    with pytest.raises(Unavailable, match="there is no docker context nosuch"):
        running.connect()


def context(folder, name, host=None):
    """Write a docker configuration whose current context is ``name``, with metadata if it has a host."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"currentContext": name}))
    if host:
        meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
        meta.mkdir(parents=True)
        (meta / "meta.json").write_text(
            json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}})
        )
    return str(folder)


def test_context_that_does_not_exist(tmp_path):
    """The configuration names a context that was removed."""
    done = apart.python(EXAMINE, DOCKER_CONFIG=context(tmp_path / "config", "gone"), COURSE_ENGINE="running")
    state, said, remedy = rows(done)["running"]
    assert state == "problem" and said.startswith("nowhere:") and "context" in said
    assert "docker context" in remedy
    assert done.returncode == 1


def test_context_that_points_nowhere(tmp_path):
    """The context is there, its engine is not."""
    config = context(tmp_path / "config", "lab", "unix:///nowhere/docker.sock")
    done = apart.python(EXAMINE, DOCKER_CONFIG=config, COURSE_ENGINE="running")
    state, said, remedy = rows(done)["running"]
    assert state == "problem" and said.startswith("nowhere:") and "the docker context lab" in said
    assert remedy.endswith("docker context use default")


def test_api_too_old():
    """An engine older than the course can use; none is packaged any more, so its answer is played."""
    version = json.dumps({"Version": "17.03.2-ce", "ApiVersion": "1.27", "Components": []})
    done = apart.python(f"VERSION = {version!r}\n" + ANSWER + EXAMINE)
    state, said, remedy = rows(done)["running"]
    assert state == "problem" and said.startswith("too old:") and "1.27" in said
    assert "upgrade" in remedy


def test_podman():
    """Podman's socket is recognised and named."""
    version = json.dumps({"Version": "5.4", "ApiVersion": "1.41", "Components": [{"Name": "Podman Engine"}]})
    state, said, _ = rows(apart.python(f"VERSION = {version!r}\n" + ANSWER + EXAMINE))["running"]
    assert state == "problem" and said.startswith("podman:")


def test_proxy_that_does_not_answer():
    """A proxy of this environment is tried, and shown without its password."""
    done = apart.python(
        "subprocess.run(['ip', 'link', 'set', 'lo', 'up']);" + EXAMINE, HTTPS_PROXY="http://me:secret@127.0.0.1:9"
    )
    state, said, _ = rows(done)["proxy"]
    assert state == "problem" and "http://127.0.0.1:9 does not answer" in said
    assert "secret" not in done.stdout
    assert "no container can reach" in rows(done)["builds"][1]


def test_certificates_that_are_not_there():
    """A bundle that the environment names and that does not exist is named."""
    done = apart.python(EXAMINE, PIP_CERT="/nowhere/ca.pem")
    state, said, _ = rows(done)["proxy"]
    assert state == "problem" and "PIP_CERT names a file that is not there: /nowhere/ca.pem" in said


def test_the_disk_before_an_engine_runs(tmp_path):
    """The disk on which the course will keep its images is looked at."""
    code = "shutil = doctor.shutil; shutil.disk_usage = lambda _: shutil._ntuple_diskusage(9, 9, 7e8);"
    done = apart.python(code + EXAMINE, XDG_STATE_HOME=str(tmp_path))
    state, said, remedy = rows(done)["disk"]
    assert state == "problem" and "0.7 GB free" in said and "XDG_STATE_HOME" in remedy


ENGINE = """
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
{prepare}
engine.find()
sys.exit(doctor.main())
"""


def test_disk_nearly_full_and_no_registry_reachable(state_home):
    """A real engine on a small disk, without a way out."""
    prepare = f"subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=300m', 'tmpfs', {state_home!r}], check=True)"
    done = apart.python(ENGINE.format(prepare=prepare), XDG_STATE_HOME=state_home, COURSE_ENGINE="dockerd")
    found = rows(done)
    state, said, remedy = found["disk"]
    assert state == "problem" and "nearly full" in said and "docker system df" in remedy
    state, said, remedy = found["registry"]
    assert state == "note" and said.startswith("none answered for debian:trixie-slim:")
    assert "made from Debian packages" in remedy
    assert done.returncode == 0  # this engine answers, whatever else is wrong


def test_the_proxy_of_the_engine_is_dead(state_home):
    """A registry is not reached because the engine's proxy does not answer: the remedy names the proxy."""
    prepare = "os.environ['HTTPS_PROXY'] = 'http://127.0.0.1:9'"
    done = apart.python(ENGINE.format(prepare=prepare), XDG_STATE_HOME=state_home, COURSE_ENGINE="dockerd")
    state, said, remedy = rows(done)["registry"]
    assert state == "note" and "proxyconnect" in said
    assert "the engine's proxy" in remedy


def test_a_way_that_there_is_not():
    """COURSE_ENGINE with an unknown word is named, and the words that there are."""
    done = apart.python(EXAMINE, COURSE_ENGINE="podman")
    state, said, remedy = rows(done)["engine"]
    assert (state, said) == ("problem", "COURSE_ENGINE=podman is unknown") and "running, dockerd" in remedy
    assert done.returncode == 1


def test_the_private_engine_and_its_address(state_home):
    """An engine that runs: the doctor says how a terminal reaches it."""
    done = apart.python("client, _ = engine.find('dockerd');" + EXAMINE, XDG_STATE_HOME=state_home)
    state, said, remedy = rows(done)["dockerd"]
    assert state == "ok" and "Docker Engine" in said
    assert f"export DOCKER_HOST=unix://{state_home}/docker-course/engine/docker.sock" in remedy


def test_an_ssh_address_without_paramiko():
    """The package that is missing is named."""
    code = "sys.modules['paramiko'] = None; become_nobody();"
    _, said, remedy = rows(apart.python(code + EXAMINE, DOCKER_HOST="ssh://somebody@127.0.0.1"))["running"]
    assert "paramiko" in said and "pip install paramiko" in remedy
