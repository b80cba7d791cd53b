"""A registry on this computer, with and without a password."""

import bcrypt
import pytest
from samples import tar

from helpers import base_image, run, url


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


@pytest.fixture
def login(client):
    """Return a function that logs in to a registry; in the end, the engine's client has forgotten the passwords."""
    addresses = []

    def logged_in(address, user, password):
        addresses.append(address)
        client.login(user, password, registry=address)

    yield logged_in
    for address in addresses:
        client.api._auth_configs["auths"].pop(address, None)
