"""A bash in a terminal of its own (a pty), as JupyterLab's: what programs print for people, questions, Ctrl-C."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

CTRL_C = b"\x03"
READY = re.compile(r"\x1e(\d+)\x1e")  # what our prompt is: the exit status of the last line
ESCAPES = re.compile(r"\x1b\[[\d;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[=>]")
ROWS, COLUMNS = 50, 200
END_SECONDS = 15
CALM_SECONDS, AGAIN_SECONDS = 0.5, 3  # bash may miss a Ctrl-C that comes while it starts a program


@contextlib.contextmanager
def bash(folder, environment):
    """
    Give a function that types a line and returns ``(status, output)``, for the time of a with block.

    Its arguments are the line; ``answers``, pairs of a regular expression that the program asks with and what is
    typed then; ``until``, a regular expression at which Ctrl-C is pressed; ``seconds``, after which Ctrl-C is pressed,
    too, and the status is None.

    Example::

        with bash("notebooks", {"DOCKER_HOST": "unix:///var/run/docker.sock"}) as typed:
            status, output = typed("docker ps")
    """
    ours, its = pty.openpty()
    settings = termios.tcgetattr(its)
    settings[3] &= ~termios.ECHO  # what comes back is the programs' own output
    termios.tcsetattr(its, termios.TCSANOW, settings)
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    prompt = {"PS1": "", "PS2": "", "PROMPT_COMMAND": r"printf '\036%s\036' $?", "TERM": "xterm"}
    process = subprocess.Popen(
        ["bash", "--noprofile", "--norc", "--noediting", "-i"],
        **dict.fromkeys(("stdin", "stdout", "stderr"), its),
        cwd=folder,
        env={**os.environ, **environment, **prompt},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # without it, Ctrl-C reaches nobody
    )
    os.close(its)
    try:
        _read(ours, END_SECONDS)
        yield lambda line, answers=(), until=None, seconds=600: _type(ours, line, answers, until, seconds)
    finally:
        os.close(ours)  # bash and what it started get SIGHUP
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        process.kill()
        process.wait()


def _type(terminal, line, answers, until, seconds):
    """Type a line and what it asks for; return its exit status and what it printed."""
    while select.select([terminal], [], [], 0.05)[0]:  # a second prompt, where Ctrl-C came after the end
        os.read(terminal, 65536)
    os.write(terminal, f"{line}\n".encode())
    return _read(terminal, seconds, list(answers), until)


def _read(terminal, seconds, answers=(), until=None):
    """Read until bash is ready again; return the exit status, None where that took too long, and the output."""
    raw, answered, deadline, press = b"", 0, time.monotonic() + seconds, None
    while not (ready := READY.search(text := raw.decode(errors="replace"))):
        output, now = plain(text), time.monotonic()
        if answers and re.search(answers[0][0], output[answered:]):
            answered = len(output)
            os.write(terminal, answers.pop(0)[1].encode())
        if press is None and (now > deadline or (until and re.search(until, output))):
            press = now + CALM_SECONDS
        if press and now > press:
            os.write(terminal, CTRL_C)
            press = now + AGAIN_SECONDS
        if now > deadline + END_SECONDS:
            return None, output
        if select.select([terminal], [], [], 0.1)[0]:
            raw += os.read(terminal, 65536)
    return (None if time.monotonic() > deadline else int(ready[1])), plain(text[: ready.start()])


def plain(text):
    """Return what a terminal got as text: without colours and moves, and with plain ends of lines."""
    return ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
