"""Ports that a container publishes: on 127.0.0.1 unless an address is given."""

import ipaddress

from helpers.errors import CourseError
from helpers.host.network import free_port

LOOPBACK = "127.0.0.1"


def normal_ports(ports):
    """
    Return the SDK's ``ports=`` in its longest form, ``{port: [(address, number or None), …]}``.

    ``None`` is any free port of 127.0.0.1, a number that port; an address of one's own stays.

    Raises:
        CourseError: it is no dict, or an address is a name: the engine would open the port to everybody.

    Example::

        normal_ports({"8000/tcp": None})  # {"8000/tcp": [("127.0.0.1", None)]}
    """
    if not isinstance(ports, dict):
        remedy = "write ports={'8000/tcp': None} for any free port, or a number instead of None"
        raise CourseError(f"publishing {ports!r}", "ports= takes a dict", remedy)
    return {port: [_binding(one) for one in _as_list(bindings)] for port, bindings in ports.items()}


def _as_list(bindings):
    return bindings if isinstance(bindings, list) else [bindings]


def _binding(given):
    """Return ``(address, number)`` for what the SDK takes: a number, None, a tuple of one or two, or a dict."""
    if isinstance(given, dict):
        given = (given.get("HostIp", ""), given.get("HostPort"))
    if not isinstance(given, tuple):
        given = (LOOPBACK, given)
    if len(given) == 1:
        given = (given[0], None) if isinstance(given[0], str) else (LOOPBACK, given[0])
    return _in_numbers(given[0]), given[1]


def _in_numbers(address):
    """Return an address; the engine would take a name for none, and open the port to everybody."""
    if address in ("localhost", ""):
        return LOOPBACK
    try:
        return str(ipaddress.ip_address(address))
    except ValueError as error:
        remedy = "write the address in numbers, such as ('127.0.0.1', None)"
        raise CourseError(f"publishing a port at {address!r}", error, remedy) from None


def chosen_ports(ports):
    """Return normal ports in which each ``None`` is a port that is free on this computer."""
    return {
        port: [(address, number or free_port()) for address, number in bindings] for port, bindings in ports.items()
    }
