"""Ways to an engine: the order in which they are tried, and the life of the private one."""

import signal
import subprocess
from pathlib import Path

import apart
import pytest

from helpers import connect, engine, waiting
from helpers.errors import CourseError

pytestmark = apart.needs_root

HOLD = """
client, kind = engine.find("dockerd")
print("pid", dockerd.pid(), flush=True)
sys.stdin.read()
"""


def hold(state_home, beside=None):
    """Start a process that uses the private engine; return it and the engine's process id."""
    command = apart.command(HOLD)
    if beside:  # the same namespaces, as two notebooks of one session
        command = ["nsenter", "--mount", "--net", f"--target={beside.pid}", *command[command.index("--net") + 1 :]]
        command[-1] = command[-1].replace('subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)', "")
    process = subprocess.Popen(
        command,
        env=apart.variables({"XDG_STATE_HOME": state_home}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, int(process.stdout.readline().split()[1])


def test_the_last_one_out_stops_the_private_engine(state_home):
    """Two processes share one engine; it lives as long as one of them."""
    first, pid = hold(state_home)
    second, same = hold(state_home, beside=first)
    assert same == pid
    first.stdin.close()
    assert first.wait(apart.ENOUGH_SECONDS) == 0
    assert apart.alive(pid)
    second.stdin.close()
    assert second.wait(apart.ENOUGH_SECONDS) == 0
    assert apart.ended(pid)


def bridges(process):
    """Return the names of the bridges where a process runs."""
    command = ["nsenter", "--net", f"--target={process.pid}", "ip", "-br", "link", "show", "type", "bridge"]
    return {line.split()[0] for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines()}


def test_two_engines_have_two_bridges(state_homes):
    """The end of one, with a state folder of its own, takes nothing from the other."""
    first, _ = hold(state_homes())
    own = bridges(first)
    second, pid = hold(state_homes(), beside=first)
    assert len(own) == 1 and own < bridges(first)
    second.stdin.close()
    assert second.wait(apart.ENOUGH_SECONDS) == 0 and apart.ended(pid)
    waiting.until(lambda: bridges(first) <= own, apart.ENOUGH_SECONDS)  # its supervisor takes it down after the engine
    assert bridges(first) == own
    first.stdin.close()
    assert first.wait(apart.ENOUGH_SECONDS) == 0


def test_its_bridge_keeps_out_of_the_network_of_a_stopped_engine(state_home):
    """An engine that had a network, and finds it taken by the docker0 that another one left, moves to the next one."""
    code = """
        import ipaddress
        client, _ = engine.find("dockerd")
        first, = client.networks.get("bridge").attrs["IPAM"]["Config"]
        dockerd.stop()
        network = ipaddress.ip_network(first["Subnet"])
        subprocess.run(["ip", "link", "add", "name", "docker0", "type", "bridge"], check=True)
        subprocess.run(["ip", "address", "add", f"{network[1]}/{network.prefixlen}", "dev", "docker0"], check=True)
        subprocess.run(["ip", "link", "set", "docker0", "up"], check=True)
        client, _ = engine.find("dockerd")
        second, = client.networks.get("bridge").attrs["IPAM"]["Config"]
        print(network.overlaps(ipaddress.ip_network(second["Subnet"])))
    """
    done = apart.python(code, XDG_STATE_HOME=state_home)
    assert done.stdout.split() == ["False"], done.stderr


def test_the_private_engine_ends_after_a_killed_process(state_home):
    """After kill -9, one that comes at once has an engine; and where nobody comes, the engine ends all the same."""
    room = subprocess.Popen(
        apart.command("print('apart', flush=True); sys.stdin.read()"),
        env=apart.variables({}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert room.stdout.readline() == "apart\n"
    first, pid = hold(state_home, beside=room)
    first.kill()
    first.wait()
    second, other = hold(state_home, beside=room)  # perhaps while the first engine is being stopped
    assert apart.alive(other)
    second.kill()
    second.wait()
    assert apart.ended(other) and apart.ended(pid)
    room.communicate()


def test_a_killed_engine_is_started_again(state_home):
    """A dockerd that died with its pid file and socket left behind is no obstacle."""
    code = """
        import time
        client, _ = engine.find("dockerd")
        first = dockerd.pid()
        os.kill(first, 9)
        while running.answers(dockerd.folder() / "docker.sock"):
            time.sleep(0.01)
        client, _ = engine.find("dockerd")
        print(client.ping(), dockerd.pid() != first)
    """
    done = apart.python(code, XDG_STATE_HOME=state_home)
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_interrupted_while_it_starts(state_home):
    """Ctrl-C during the start: the next command has an engine all the same."""
    starting = subprocess.Popen(
        apart.command(HOLD),
        env=apart.variables({"XDG_STATE_HOME": state_home}),
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    log = Path(state_home, "docker-course", "engine", "dockerd.log")
    assert waiting.until(log.exists, apart.ENOUGH_SECONDS, pause=0.01)
    starting.send_signal(signal.SIGINT)
    starting.wait(apart.ENOUGH_SECONDS)
    done = apart.python("print(engine.find('dockerd')[0].ping())", XDG_STATE_HOME=state_home)
    assert done.stdout.strip() == "True", done.stderr


def test_no_second_engine_beside_one_that_runs(state_home):
    """Two dockerd on one machine rewrite each other's firewall: refused, with the reason."""
    code = """
        import socket
        server = socket.socket(socket.AF_UNIX); server.bind("/run/docker.sock"); server.listen()
        engine.find("dockerd")
    """
    done = apart.python(code, XDG_STATE_HOME=state_home)
    assert "a Docker Engine is running already" in done.stderr and "firewall" in done.stderr


@pytest.mark.engine  # installed, if not started
def test_an_ordinary_user_is_told_each_way_and_its_remedy():
    """One error lists what was tried, why it failed, and a command for each."""
    done = apart.python("os.chmod('/run', 0o777); become_nobody(); engine.connect()", XDG_STATE_HOME="/run")
    assert done.returncode == 1
    text = done.stderr[done.stderr.index("no Docker Engine could be reached") :]
    assert "running: Docker is installed" in text and "systemctl start docker" in text
    assert "dockerd: only root can start a dockerd" in text and "sudo python3 -m helpers lab" in text


def test_an_explicit_address_that_does_not_answer_is_not_passed_over_in_silence(state_home):
    """DOCKER_HOST points nowhere: the private engine serves, and the output says why."""
    done = apart.python("engine.connect()", XDG_STATE_HOME=state_home, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert done.stdout.startswith("unix:///nowhere/docker.sock (from DOCKER_HOST)")  # before the other one starts
    assert "kind: dockerd" in done.stdout, done.stderr


@pytest.mark.parametrize("kind", engine.KINDS)
def test_a_state_folder_that_cannot_be_made(kind, monkeypatch):
    """Named, with the variable that moves it, whether or not an engine runs already."""
    monkeypatch.setenv("COURSE_ENGINE", kind)
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    with pytest.raises(CourseError, match=r"(?s)/proc/nowhere.*set XDG_STATE_HOME"):
        connect()


def test_course_engine_forces_one_way(monkeypatch):
    """COURSE_ENGINE=running tries nothing else; an unknown word names those that there are."""
    monkeypatch.setenv("COURSE_ENGINE", "running")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    with pytest.raises(CourseError) as caught:
        connect()
    assert "running:" in str(caught.value) and "dockerd:" not in str(caught.value)
    monkeypatch.setenv("COURSE_ENGINE", "podman")
    with pytest.raises(CourseError, match="choose one of running, dockerd"):
        connect()


def test_running_is_the_engine_that_docker_host_names(client, monkeypatch):
    """The address of an engine in DOCKER_HOST leads to that engine."""
    from helpers.engine import dockerd

    if dockerd.is_ours(client):
        monkeypatch.setenv("DOCKER_HOST", dockerd.socket_url())
    monkeypatch.setenv("COURSE_ENGINE", "running")
    found, _ = engine.find()
    assert found.info()["ID"] == client.info()["ID"]


def test_only_its_owner_may_use_the_private_socket(state_home):
    """The socket has mode 0600; and dockerd is found where it is not in the PATH."""
    code = "engine.find('dockerd'); print(oct(os.stat(dockerd.folder() / 'docker.sock').st_mode & 0o777))"
    done = apart.python("os.environ['PATH'] = '/usr/bin:/bin'; " + code, XDG_STATE_HOME=state_home)
    assert done.stdout.strip() == "0o600", done.stderr


def test_a_registry_behind_a_proxy_that_inspects_tls_is_trusted(state_home, tmp_path):
    """The private engine trusts the certificates that PIP_CERT names, as builds do."""
    code = """
        import http.server, ssl, threading, docker, trustme
        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("10.9.8.7").configure_cert(context)
        authority.cert_pem.write_to_path(os.environ["PIP_CERT"])
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["ip", "address", "add", "10.9.8.7/32", "dev", "lo"], check=True)
        server = http.server.ThreadingHTTPServer(("10.9.8.7", 5000), http.server.SimpleHTTPRequestHandler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.chdir(os.path.dirname(os.environ["PIP_CERT"]))
        os.mkdir("v2")
        client, _ = engine.find("dockerd")
        try:
            client.images.pull("10.9.8.7:5000/nothing", tag="latest")
        except docker.errors.APIError as error:
            print(error.explanation)
    """
    done = apart.python(code, XDG_STATE_HOME=state_home, PIP_CERT=str(tmp_path / "ca.pem"))
    assert "404" in done.stdout or "unknown" in done.stdout, done.stdout + done.stderr
    assert "x509" not in done.stdout


def test_settings_of_this_machine_reach_the_private_engine(state_home):
    """A classroom's registry mirror in /etc/docker/daemon.json holds in the private engine too."""
    code = """
        os.makedirs("/etc/docker", exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/etc/docker"], check=True)
        open("/etc/docker/daemon.json", "w").write('{"registry-mirrors": ["http://mirror.example:5000"], "icc": false}')
        print(engine.find("dockerd")[0].info()["RegistryConfig"]["Mirrors"])
    """
    done = apart.python(code, XDG_STATE_HOME=state_home)
    assert done.stdout.strip() == "['http://mirror.example:5000/']", done.stderr


def test_docker_build_in_a_terminal_takes_buildkit(state_home):
    """The private engine says so to the docker command, of which the one before 23 would take the older builder."""
    code = "print(engine.find('dockerd')[0].api._get('http+docker://localhost/_ping').headers['Builder-Version'])"
    done = apart.python(code, XDG_STATE_HOME=state_home)
    assert done.stdout.split() == ["2"], done.stderr
