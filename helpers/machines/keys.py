"""Keys of one session, made each time: only those who can read its folder can use the engine."""

import os
import re
import socket
import ssl
import time

from helpers import waiting
from helpers.host.settings import own_authorities
from helpers.machines import qemu

INSIDE = 2376  # the engine's port in the guest
FILES = ("ca.pem", "cert.pem", "key.pem")


def make(folder):
    """Make an authority and two certificates; write the client's into a folder, return what ``give_to_guest`` takes."""
    import trustme

    authority = trustme.CA(organization_name="docker-course")
    server, client = authority.issue_cert("127.0.0.1", "localhost"), authority.issue_cert("client@docker-course")
    files = {
        "ca.pem": authority.cert_pem,
        "cert.pem": client.cert_chain_pems[0],
        "key.pem": client.private_key_pem,
    }
    for name, blob in files.items():
        (folder / name).touch(mode=0o600)
        blob.write_to_path(folder / name)
    return {
        "KEY": server.private_key_pem.bytes().decode(),
        "CERTIFICATE": server.cert_chain_pems[0].bytes().decode(),
        "AUTHORITY": authority.cert_pem.bytes().decode(),
    }


def give_to_guest(control, keys):
    """Give the guest its keys, the time and randomness; its engine then opens to the client's key."""
    randomness = "".join(f"\\{byte:03o}" for byte in os.urandom(64))
    words = {"TIME": int(time.time()), "RANDOMNESS": randomness, **keys}
    control("; ".join(f"{name}='{value}'" for name, value in words.items()) + "; . session")


def client(folder, port, version=None):
    """Return a ``docker.DockerClient`` with the keys in a folder; where the API's version is known, it need not ask."""
    import docker

    certificate = (str(folder / "cert.pem"), str(folder / "key.pem"))
    tls = docker.tls.TLSConfig(client_cert=certificate, ca_cert=str(folder / "ca.pem"), verify=True)
    with own_authorities():
        made = docker.DockerClient(
            base_url=f"tcp://127.0.0.1:{port}", version=version, tls=tls, timeout=waiting.CALL_SECONDS
        )
    made.api.trust_env = False
    return made


def answers(folder, port, seconds=5):
    """Return the version of an engine's API where it answers to the keys in a folder, else None."""
    try:
        context = ssl.create_default_context(cafile=folder / "ca.pem")
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        with (
            socket.create_connection(("127.0.0.1", port), timeout=seconds) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            found = re.match(rb"HTTP/1.\d 200 OK\r\n.*?Api-Version: ([\d.]+)", connection.recv(400), re.DOTALL)
            return found and found[1].decode()
    except OSError:
        return None


def wait_for_engine(folder, port, control):
    """Wait until an engine answers to the keys in a folder; raise ``qemu.Refused`` with the guest's logs."""
    if not waiting.until(lambda: answers(folder, port), waiting.ENGINE_ANSWER_SECONDS, pause=0.1):
        said = control("tail -5 /var/log/*.log")
        raise qemu.Refused("waiting for the engine of the virtual machine", said, "try again")
