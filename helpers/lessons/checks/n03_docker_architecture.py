"""Exercises of 03: Docker's architecture."""

from helpers import engine
from helpers.lessons.checks.checking import exercise
from helpers.waiting import until

RESTART_SECONDS = 10  # a container that runs, until its program ends and the daemon starts it again


@exercise("03-by-hand", "answer", "`get` asks the daemon by hand. What does it answer at /info?")
def number_of_containers(client, answer):
    """Ask the daemon by hand how many containers it has, those that have ended included."""
    info = client.info()
    fact = "it is the number of all containers"
    number = int(answer) if answer.isdecimal() else None
    if number is None:
        yield fact, False, "get('/info').json() is a dict. Which key counts containers?"
    elif number == info["ContainersRunning"] and number != info["Containers"]:
        yield fact, False, "that is the number of those that run. Which number counts all?"
    else:
        near = abs(number - info["Containers"]) <= 1  # another notebook may start one meanwhile
        yield fact, near, "get('/info').json() is a dict. Which key counts containers?"


@exercise("03-again", "container", "who starts a program again, if not you? Which argument of `run` asks for that?")
def started_again(client, container):
    """Start a container that ends with an error, and that the daemon starts again, three times at most."""
    policy = container.attrs["HostConfig"]["RestartPolicy"]
    name, retries = policy["Name"], policy["MaximumRetryCount"]
    yield "the daemon is asked to start it again", name not in ("", "no"), "restart_policy= takes a dict"
    bounded = name == "on-failure" and 1 <= retries <= 3
    most = f"at most {retries} times" if retries else "without end"
    then = "Which second key says how often?" if name == "on-failure" else "Which one has a maximum?"
    yield "three times at most", bounded, f"the policy {name!r} starts it again {most}. {then}"
    until(lambda: _restart_is_decided(container), engine.patience(client, RESTART_SECONDS))
    question = "did its program end, and with another status than 0? Look at container.attrs['State']"
    yield "it was started again", container.attrs["RestartCount"] > 0, question


def _restart_is_decided(container):
    """Return whether the daemon has counted a restart, or will not any more: it counts at once when a program ends."""
    container.reload()
    return container.attrs["RestartCount"] > 0 or container.status not in ("running", "restarting")
