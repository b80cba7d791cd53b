"""Exercises of 06: the second practical."""

import ipaddress

from helpers import engine
from helpers.containers.outcome import status_and_output
from helpers.lessons.checks.checking import exercise
from helpers.lessons.checks.observing import it_runs, web_app_answers

USUAL_NETWORKS = ("bridge", "host", "none")
SHOP_SECONDS = 15  # a web app that was started a moment ago, until it answers by its name
ASK_THE_SHOP = """
import socket, sys, time, urllib.error, urllib.request
deadline = time.monotonic() + float(sys.argv[1])
try:
    print(*{entry[4][0] for entry in socket.getaddrinfo("shop", 8000, socket.AF_INET)}, flush=True)
except OSError:
    sys.exit()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
while time.monotonic() < deadline:
    try:
        page = opener.open("http://shop:8000/demo/", timeout=4).read()
        sys.exit(print("answers" * (b"made by Django" in page)))
    except urllib.error.HTTPError:
        sys.exit()
    except OSError as error:
        if isinstance(getattr(error, "reason", None), socket.gaierror):
            sys.exit()  # it has ended, and its name with it
        time.sleep(0.3)  # it may have been started a moment ago
"""


@exercise("06-only-here", "container", "which argument publishes a port, and at which address of this computer?")
def only_on_this_computer(client, container):
    """Run the web app so that this computer can reach it, and no other can."""
    yield it_runs(container)
    bindings = container.attrs["NetworkSettings"]["Ports"].get("8000/tcp") or []
    yield "its port 8000 is published", bindings, "EXPOSE publishes nothing. What does -p look like in Python?"
    hosts = {binding["HostIp"] or "0.0.0.0" for binding in bindings}
    only_here = all(ipaddress.ip_address(host).is_loopback for host in hosts)
    listens = f"it listens on {', '.join(sorted(hosts))}, that is, on every address."
    question = f"{listens} The SDK's ports= takes a pair, too: an address in numbers, and a port or None"
    yield "on 127.0.0.1 and nowhere else", only_here, question
    question = "at /demo/, it does not. At which address does it listen inside of the container?"
    yield "the web app answers there", web_app_answers(container), question


@exercise("06-shop", "container", "in which networks does Docker answer for names?")
def found_as_shop(client, container):
    """Run the web app so that other containers of its network reach it by the name shop."""
    yield it_runs(container)
    attached = container.attrs["NetworkSettings"]["Networks"]
    networks = {name: network for name, network in attached.items() if name not in USUAL_NETWORKS}
    yield "it is in a network of your own", networks, "the usual network knows no names. Which call makes another?"
    words = {name: _words_about_shop(client, name) for name in networks}
    found = [name for name in networks if words[name]]
    yield "there, a second container finds the name shop", found, "a container's own name counts, and aliases="
    own = [name for name in found if networks[name]["IPAddress"] in words[name]]
    yield "and it means this container", own, "which container has that name?"
    answers = any("answers" in words[name] for name in own)
    container.reload()
    question = "what runs in it? Is it the web app?"
    if container.status != "running":
        question = "it has ended. What does its log say?"
    yield "which answers there on port 8000", answers, question


def _words_about_shop(client, network):
    """Return the addresses of the name shop in a network, and ``answers`` where the web app does; nothing without."""
    image = client.images.get("course/web")
    seconds = engine.patience(client, SHOP_SECONDS)
    ask = ["python3", "-c", ASK_THE_SHOP, str(seconds)]
    status, said = status_and_output(client, image, ask, seconds=2 * SHOP_SECONDS, network=network)
    return [] if status == 127 else said.split()
