"""The control port: what is lost while a guest opens its port again is sent again."""

import base64
import socket
import threading

import pytest

from helpers.machines.qemu import Control, Refused


@pytest.fixture
def port():
    """Return ``(control, guest)``: this end of a port, and the guest's as a file."""
    here, there = socket.socketpair()
    with here, there:
        yield Control(here, seconds=30), there.makefile("rwb", buffering=0)


def answers(guest, *lines):
    """Have a guest send lines, each after one that it got; ``{}`` stands for the name in that."""

    def play():
        for line in lines:
            name = guest.readline().split()[0].decode()
            guest.write(line.format(name).encode())

    threading.Thread(target=play, daemon=True).start()


def test_a_script_that_was_lost_is_sent_again(port):
    """A guest that opens its port says so, and has not seen what was sent before."""
    control, guest = port
    said = base64.b64encode(b"42\n").decode()
    answers(guest, "0 0 \n", f"{{}} 0 {said}\n")
    assert control("echo 42") == "42\n"


def test_an_old_answer_is_passed_over(port):
    """What was sent twice may be answered twice."""
    control, guest = port
    answers(guest, "older 0 \n{} 0 \n")
    assert control("true") == ""


def test_a_script_that_fails(port):
    """Its words are told."""
    control, guest = port
    answers(guest, f"{{}} 3 {base64.b64encode(b'no such file').decode()}\n")
    with pytest.raises(Refused, match="no such file"):
        control("cat nothing")


def test_a_guest_that_ends(port):
    """No answer will come."""
    control, _ = port
    control.socket.shutdown(socket.SHUT_RD)
    with pytest.raises(Refused, match="it ended"):
        control("true")


def test_a_guest_that_is_silent(port):
    """The seconds are told."""
    control, _ = port
    control.socket.settimeout(0.1)
    with pytest.raises(Refused, match=r"no answer in 0\.1 s"):
        control("true")
