"""Proxies, in the spellings that programs read; and what is said of those that do not help."""

import socket
from types import SimpleNamespace

import pytest
from docker.utils.proxy import ProxyConfig

from helpers import proxies
from helpers.commands import environment
from helpers.host import network
from helpers.images import build_errors

NAMES = [spelt for name in ("http_proxy", "https_proxy", "no_proxy") for spelt in (name, name.upper())]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """Take away the proxies of this computer."""
    for name in (*NAMES, "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


def advice(output):
    """Return what a build says next, whose step printed something and failed."""
    return build_errors._advice("did not complete successfully: exit code: 1", output, is_step=True, client=None)


def test_one_variable_is_enough(monkeypatch):
    """Apt reads http_proxy, pip HTTPS_PROXY: whoever set one of them meant both."""
    assert network.variables() == {}
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    found = network.variables()
    assert {found[name] for name in NAMES[:4]} == {"http://proxy.example:3128"}
    assert found["NO_PROXY"] == found["no_proxy"] == "inside.example"
    assert proxies() == found


def test_what_dockers_own_configuration_names(monkeypatch):
    """It goes before the environment, as for docker build; the environment fills in; one on 127.0.0.1 does neither."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    configured = ProxyConfig(http="http://build.example:3128", https="http://localhost:3128", no_proxy="inside")
    client = SimpleNamespace(api=SimpleNamespace(_proxy_configs=configured))
    wanted = {"http_proxy": configured.http, "https_proxy": "http://proxy.example:3128", "no_proxy": "inside"}
    assert network.proxies_of(client) == wanted | {name.upper(): value for name, value in wanted.items()}
    client.api._proxy_configs = ProxyConfig()
    assert network.proxies_of(client) == proxies()


def test_what_no_container_can_reach(monkeypatch):
    """A proxy on 127.0.0.1 is not passed on, and a build that fails for that says so."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert proxies() == {} and network.silent_proxies() == []
        said = advice("CERTIFICATE_VERIFY_FAILED")
        assert "no container can reach your proxy http://127.0.0.1" in said


def test_a_proxy_that_is_down(monkeypatch):
    """It is named, without its password, by whatever fails for it."""
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    [(proxy, why)] = network.silent_proxies()
    assert proxy == "http://127.0.0.1:9" and why
    for said in (
        advice("ProxyError('Cannot connect to proxy.')"),
        environment._pip_remedy("ProxyError"),
    ):
        assert "http://127.0.0.1:9 does not answer" in said and "secret" not in said


def test_certificates(monkeypatch):
    """A network with certificates of its own: the variable is named, and a file that is not there."""
    assert "export PIP_CERT" in advice("CERTIFICATE_VERIFY_FAILED")
    assert "export PIP_CERT" in environment._pip_remedy("SSLError(SSLCertVerificationError…")
    assert "HTTPS_PROXY" in environment._pip_remedy("Temporary failure in name resolution")
    monkeypatch.setenv("PIP_CERT", "/nowhere/ca.pem")
    assert "/nowhere/ca.pem" in environment._pip_remedy("SSLError")
