"""Exercises: what the engine shows of the learner's work, one small function each, in the order of the notebooks."""

import contextlib
import datetime
import difflib
import http.client
import io
import ipaddress
import json
import re
import socket
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path

import docker
import requests

from helpers import engine, state
from helpers.containers.outcome import brief_container, exit_status, status_and_output
from helpers.containers.url import url
from helpers.errors import CourseError
from helpers.images.build import remember
from helpers.images.contents import read_file
from helpers.images.layers import size
from helpers.progress import progress

EXERCISES = {}
WEB_APP = b"made by Django"  # in the page of the web app of 06
FIND = {
    "container": lambda client, mine: client.containers.get(mine if isinstance(mine, str) else mine.id),
    "image": lambda client, mine: client.images.get(mine if isinstance(mine, str) else mine.id),
    "volume": lambda client, mine: client.volumes.get(mine if isinstance(mine, str) else mine.id),
    "answer": lambda client, mine: (mine.decode(errors="replace") if isinstance(mine, bytes) else str(mine)).strip(),
}
HAND_OVER = {
    "container": "run(…, detach=True) and client.containers.create(…) return one. What did you hand over? Is it there?",
    "image": "build(…) and client.images.get(…) return an image. What did you hand over? Is its name spelt right?",
    "volume": "client.volumes.create() returns a volume. What did you hand over, and is it still there?",
    "answer": "what did you find out? Hand it over as it is.",
}


def check(name, mine=None):
    """
    Look on the engine whether an exercise is done; print what holds, what does not yet, and a question that leads on.

    ``mine`` is what the exercise asks for: a container, an image or a volume (or its name), or what was found out. Only
    what the engine shows of it counts, not the way there. What has passed is remembered in the course's state folder.
    SDK calls: ``client.images.get`` and the like, ``inspect``; some run a container of the image for a moment.

    Raises:
        CourseError: there is no exercise of that name.

    Example::

        check("07-smaller", "course/my-answer")
    """
    if name not in EXERCISES:
        near = difflib.get_close_matches(str(name), EXERCISES, n=3, cutoff=0.5) or EXERCISES
        raise CourseError(f"checking exercise {name}", "there is none", f"did you mean {', '.join(near)}?")
    kind, look, question = EXERCISES[name]
    if mine is None:
        return _not_yet(name, [], f"mine is {_a(kind)}", question)
    held = []
    with progress(total=None, desc=f"checking {name}", delay=2):
        for fact, holds, then in _facts(kind, look, mine):
            if not holds:
                return _not_yet(name, held, fact, then)
            held.append(fact)
    print(f"{name}: passed")
    print(*[f"  holds:   {fact}" for fact in held], sep="\n")
    _remember(name)


def _not_yet(name, held, fact, question):
    print(f"{name}: not yet")
    print(*[f"  holds:   {fact}" for fact in held], f"  not yet: {fact}", f"  think:   {question}", sep="\n")


def _facts(kind, look, mine):
    """Yield ``(fact, holds, question)`` of one exercise; the first is that the engine has what was handed over."""
    client = getattr(mine, "client", None) or engine.find(tidy=False)[0]  # what waits to be looked at stays
    try:
        found = FIND[kind](client, mine)
    except (docker.errors.APIError, docker.errors.NullResource):
        yield f"the engine has {_a(kind)} of that name, {str(mine)[:60]!r}", False, HAND_OVER[kind]
        return
    except (AttributeError, TypeError, ValueError):
        yield f"mine is {_a(kind)} (it is of type {type(mine).__name__})", False, HAND_OVER[kind]
        return
    try:
        yield from look(client, found)
    except docker.errors.ImageNotFound as error:
        yield "the images of this lesson are here", False, f"{error.explanation}. Did its cells above run?"
    except (docker.errors.DockerException, requests.exceptions.RequestException, TypeError, ValueError) as error:
        yield "the engine could be asked about it", False, f"it says: {_end(str(error))}. What did you hand over?"


def _a(kind):
    return f"{'an' if kind[0] in 'ai' else 'a'} {kind}"


def exercises(reset=False):
    """
    Return a row an exercise: ``exercise`` (its name), ``passed`` (the day, or ``-``) and ``task``.

    With ``reset``, what has passed is forgotten first. It calls nothing of the SDK.

    Example::

        table(exercises())
    """
    if reset:
        _record().unlink(missing_ok=True)
    days = _passed()
    return [
        {"exercise": name, "passed": days.get(name, "-"), "task": look.__doc__.strip().rstrip(".")}
        for name, (_, look, _) in EXERCISES.items()
    ]


def _record():
    """Return the file of what has passed; tests have one of their own."""
    return state.folder() / ("exercises-of-tests.json" if state.notebook().startswith("test-") else "exercises.json")


def _passed():
    try:
        return json.loads(_record().read_text())
    except (OSError, ValueError):  # none yet, or cut off: nothing that a check could not bring back
        return {}


def _remember(name):
    with state.Lock(_record().with_suffix(".lock")):  # two notebooks may pass something at once
        days = {name: datetime.date.today().isoformat(), **_passed()}
        unfinished = _record().with_suffix(".new")
        unfinished.write_text(json.dumps(days, indent=1))
        unfinished.replace(_record())


def exercise(name, kind, question):
    """Keep a function that yields the facts of an exercise; ``question`` is for who has not begun."""

    def keep(look):
        EXERCISES[name] = (kind, look, question)
        return look

    return keep


# What several checks look at


def _end(text, most=200):
    """Return the end of what a program said, on one line; a word is not cut."""
    line = " / ".join(part.strip() for part in text.splitlines() if part.strip())
    return (line if len(line) <= most else "… " + line[-most:].partition(" ")[2]) or "nothing"


def _calculated(client, image, line):
    """Return what a container of an image prints when it gets a line of input, and then the end of it."""
    with brief_container(client, image, stdin_open=True, network_mode="none") as (container, why):
        if container is None:
            return why
        stdin = container.attach_socket(params={"stdin": True, "stream": True})
        stdin = getattr(stdin, "_sock", stdin)
        with contextlib.suppress(OSError):  # it has ended already
            stdin.sendall(f"{line}\n".encode())
            stdin.shutdown(socket.SHUT_WR)
        exit_status(container, awake=True)
        return container.logs(tail=50).decode(errors="replace")


def _page(container, path="/"):
    """Return the page that a container's published port 8000 has at a path, or None."""
    try:
        address = url(container, 8000, timeout=60 if engine.vm.is_ours(container.client) else 5) + path
        return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=5).read()
    except (CourseError, OSError, http.client.HTTPException):
        return None


def _web_app_answers(container):
    return WEB_APP in (_page(container, "/demo/") or b"")


def _said(container, *command):
    """Return what a command prints in a container; nothing where it does not start or fails."""
    try:
        answer = container.exec_run(list(command))
    except docker.errors.APIError:  # how some engines say that there is no such program
        return ""
    return "" if answer.exit_code else answer.output.decode(errors="replace").strip()


def _status(container):
    """Return the kernel's own words about process 1 of a container: its user, its rights."""
    told = _said(container, "cat", "/proc/1/status")
    return dict(line.split(":\t", 1) for line in told.splitlines() if ":\t" in line)


# 01 Containers and virtual machines


@exercise("01-create", "container", "which call of the SDK makes a container and starts nothing?")
def create(client, container):
    """Make a container of course/first that was never started."""
    first = client.images.get("course/first")
    yield "it was made from course/first", container.attrs["Image"] == first.id, "which image did you name?"
    never = container.attrs["State"]["Status"] == "created"
    yield "it was never started", never, "`run` does two things, one after the other. Which call does only the first?"


@exercise("01-kernel", "answer", "which program tells the release of the kernel? `ask` was used for it above.")
def kernel(client, answer):
    """Find out the release of the kernel that a container of Debian 13 runs on."""
    release = client.info()["KernelVersion"]
    then = "did `uname -r` run in a container?"
    if re.fullmatch(r"\d\d(\.\d+)?|trixie|bookworm|debian", answer.lower()):
        then = "/etc/os-release is a file of the image. Who knows the kernel?"
    elif answer and release.startswith(answer):
        then = "that is how it begins. How does it go on?"
    yield "it is the release of the engine's kernel", answer == release, then


# 02 Inside a container


def _runs(container, question):
    """Return the fact that a container runs."""
    instead = {
        "paused": "it is paused. Which call has it go on?",
        "restarting": "it ends, and is started again, and again. What does its log say?",
    }
    return "it runs", container.status == "running", instead.get(container.status, question)


@exercise("02-limit", "container", "which argument limited the program that wanted 160 MB?")
def limit(client, container):
    """Start a container that waits, and may use 32 MB of memory at most, swap included."""
    yield _runs(container, "what does it do? A container ends with its program: try sleep")
    settings = container.attrs["HostConfig"]
    allowed = f"its limit is {settings['Memory'] / 2**20:.6g} MB" if settings["Memory"] else "it has none"
    limited = 0 < settings["Memory"] <= 32 * 2**20
    yield f"its memory has a limit of 32 MB at most ({allowed})", limited, "mem_limit= takes '32m'"
    whole = settings["MemorySwap"] == settings["Memory"] or not client.info()["SwapLimit"]  # not every kernel limits it
    yield "and no swap beside it", whole, "memory and swap together are limited by another argument. Which?"


@exercise("02-keep", "volume", "where do files go that outlive every container?")
def keep(client, volume):
    """Write a file named note so that it is still there when its container is removed."""
    base = client.images.get("course/debian:bookworm-slim")
    mounted = {volume.name: {"bind": "/data", "mode": "ro"}}
    _, listed = status_and_output(client, base, ["ls", "-A", "/data"], volumes=mounted)
    there = " ".join(listed.split()) or "nothing"
    yield (
        "a new container finds the file note in it",
        "note" in listed.split(),
        (f"in the volume there is: {there}. At which path was it mounted where you wrote?"),
    )
    status, _ = status_and_output(client, base, ["grep", "-q", "[^[:space:]]", "/data/note"], volumes=mounted)
    yield "it is a file, and there is something in it", status == 0, "what did you write, and into what?"
    on_disk = "tmpfs" not in str(volume.attrs.get("Options") or "")
    yield "the volume is on a disk", on_disk, "it is in memory (tmpfs), and is forgotten with its last container"


@exercise("02-no-rights", "container", "which two arguments of `run` take the rights away, and the user root?")
def no_rights(client, container):
    """Start a container that waits, as another user than root, without a single capability."""
    yield _runs(container, "what does it do? A container ends with its program: try sleep")
    told = _status(container)
    yield "its user is not root", told.get("Uid", "0").split()[0] != "0", "user= takes a number, too. Which is root's?"
    dropped = int(told.get("CapBnd", "1"), 16) == 0
    yield (
        "no capability is left to it",
        dropped,
        ("this user has none at work, but may a program that belongs to root get some? cap_drop= takes a list"),
    )


# 03 Docker's architecture


@exercise("03-by-hand", "answer", "`get` asks the daemon by hand. What does it answer at /info?")
def by_hand(client, answer):
    """Ask the daemon by hand how many containers it has, those that have ended included."""
    told = client.info()
    near = answer.isdigit() and abs(int(answer) - told["Containers"]) <= 1  # another notebook may start one meanwhile
    then = "get('/info').json() is a dict. Which key counts containers?"
    if answer == str(told["ContainersRunning"]) != str(told["Containers"]):
        near, then = False, "that is the number of those that run. Which number counts all?"
    yield "it is the number of all containers", near, then


@exercise("03-again", "container", "who starts a program again, if not you? Which argument of `run` asks for that?")
def again(client, container):
    """Start a container that ends with an error, and that the daemon starts again, three times at most."""
    policy = container.attrs["HostConfig"]["RestartPolicy"]
    yield "the daemon is asked to start it again", policy["Name"] not in ("", "no"), "restart_policy= takes a dict"
    bounded = policy["Name"] == "on-failure" and 1 <= policy["MaximumRetryCount"] <= 3
    most = f"at most {policy['MaximumRetryCount']} times" if policy["MaximumRetryCount"] else "without end"
    then = "Which second key says how often?" if policy["Name"] == "on-failure" else "Which one has a maximum?"
    yield "three times at most", bounded, f"the policy {policy['Name']!r} starts it again {most}. {then}"
    deadline = time.monotonic() + (20 if engine.vm.is_ours(client) else 1.5)
    while not container.attrs["RestartCount"] and time.monotonic() < deadline:
        time.sleep(0.1)
        container.reload()
    yield (
        "it was started again",
        container.attrs["RestartCount"] > 0,
        ("did its program end, and with another status than 0? Look at container.attrs['State']"),
    )


# 04 The first practical


@exercise("04-own-words", "image", "what has to differ from course/first: the file, the command, or either?")
def own_words(client, image):
    """Build an image that says something of your own when it is run."""
    status, said = status_and_output(client, image, awake=True, network_mode="none")
    yield "it ends by itself", status is not None, "it goes on and on: what does its command wait for?"
    yield "with status 0", status == 0, f"it said: {_end(said)}. What does CMD name?"
    yield "it says something", said != "", "what is its command? image.attrs['Config']['Cmd'] tells"
    other = said != "Hello from a container!" and "Hello from Docker!" not in said
    yield (
        "that is not what an image of the lesson says",
        other,
        ("a new name does not change an image. What has to be built anew?"),
    )


@exercise("04-push", "image", "what does an image's name have to begin with, so that it goes to your registry?")
def push(client, image):
    """Push an image under a name of your own to the registry with the password."""
    names, found = [], False
    for registry in client.containers.list(ignore_removed=True):
        for port in registry.ports.get("5000/tcp") or []:
            there = (f"127.0.0.1:{port['HostPort']}/", f"localhost:{port['HostPort']}/")
            here = [name for name in image.tags if name.startswith(there)]
            names += here
            found = found or any(_stored(registry, name, image) for name in here if "/course/mine:" not in name)
    own = [name for name in names if "/course/mine:" not in name]
    yield "it has a name that begins with your registry's address", names, "`tag` gives an image one more name"
    yield "and goes on with a name of your own", own, f"{', '.join(names)} is the lesson's. What is yours?"
    yield "the registry has stored it", found, "a name sends nothing. Which call does? Did it say no?"


def _stored(registry, name, image):
    """Return whether a registry's own files have an image under a name, such as ``127.0.0.1:5000/ada:latest``."""
    repository, _, tag = name.partition("/")[2].rpartition(":")
    try:
        digest = _file(registry, f"repositories/{repository}/_manifests/tags/{tag}/current/link").decode()
        manifest = json.loads(_file(registry, f"blobs/sha256/{digest[7:9]}/{digest[7:]}/data"))
    except docker.errors.NotFound:
        return False
    return image.id in (digest, manifest.get("config", {}).get("digest"))


def _file(registry, path):
    chunks, _ = registry.get_archive(f"/var/lib/registry/docker/registry/v2/{path}")
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        return tar.extractfile(tar.next()).read()


# 05 A Django app and its Dockerfile


@exercise("05-key", "answer", "a layer is never changed by a later one. Where does a file go that is overwritten?")
def key(client, answer):
    """Find the key that the image course/forgotten had, before a later step overwrote it."""
    image = client.images.get("course/forgotten")
    shown = read_file(image, "/key").decode().strip()
    held = set()
    with tarfile.open(fileobj=io.BytesIO(b"".join(image.save()))) as saved:
        for member in (one for one in saved if one.isfile()):
            with contextlib.suppress(tarfile.ReadError), tarfile.open(fileobj=saved.extractfile(member)) as layer:
                held |= {layer.extractfile(one).read().decode().strip() for one in layer if one.name == "key"}
    then = "image.save() is a tar archive, and each layer in it is one, too. Which one has a file key?"
    if answer == shown:
        then = "that is what the image shows now: the last layer's. How many layers are there?"
    yield "it is the key that was overwritten", answer in held - {shown}, then


@exercise("05-order", "answer", "which line needs the source, and which only needs requirements.txt?")
def order(client, text):
    """Write a Dockerfile whose slow step comes from the cache after an edit of the code."""
    with tempfile.TemporaryDirectory(prefix="docker-course-") as folder:
        (Path(folder) / "requirements.txt").write_text("something slow\n")
        (Path(folder) / "Dockerfile").write_text(str(text))
        before, said = _built(client, folder, "print('as it was')\n")
        yield "it builds", before is not None, f"the engine says: {said}"
        both = "as it was" in before["app.py"] and re.search(r"something slow\n[0-9a-f]{8}-", before["installed"])
        yield "/app has app.py, and installed, as the slow step makes it", both, "what did you leave out?"
        after, _ = _built(client, folder, "print('edited')\n")
    for built in (before, after):
        with contextlib.suppress(docker.errors.APIError):  # both are the same, or it has another name
            client.images.remove(built["image"])
    yield "after an edit, the new code is in the image", "edited" in after["app.py"], "what is copied, and from where?"
    cached = before["installed"] == after["installed"]  # each run of the step makes its number anew
    yield "and the slow step came from the cache", cached, "which lines stand before the slow step, and need the code?"


def _built(client, folder, code):
    """Return two files of ``/app`` and the id of the image of a folder with some code, or None and what went wrong."""
    (Path(folder) / "app.py").write_text(code)
    options = {"buildargs": {"BASE": "course/debian:bookworm-slim"}, "rm": True, "forcerm": True}
    try:
        image, _ = client.images.build(path=folder, labels={state.LABEL: "1"}, **options)
    except docker.errors.BuildError as error:
        log = "".join(entry.get("stream", "") for entry in error.build_log)
        remember(re.findall(r" ---> ([0-9a-f]{12})\n", log))
        return None, _end(error.msg, 300)
    except docker.errors.DockerException as error:
        return None, _end(getattr(error, "explanation", None) or str(error), 300)
    files = {
        name: (read_file(image, f"/app/{name}") or b"").decode(errors="replace") for name in ("app.py", "installed")
    }
    return {**files, "image": image.id}, ""


@exercise("05-greet", "image", "what is fixed, and what may be changed by an argument: ENTRYPOINT or CMD?")
def greet(client, image):
    """Build an image that prints `hello world`, and with the argument `you` prints `hello you`."""
    status, plain = status_and_output(client, image, awake=True, network_mode="none")
    yield "it ends by itself, with status 0", status == 0, f"it said: {_end(plain)}. What does its command wait for?"
    yield (
        "without an argument it prints hello world",
        plain == "hello world",
        f"it printed {plain[:99]!r}. {_why_not_both(image)}",
    )
    _, given = status_and_output(client, image, ["you"], awake=True, network_mode="none")
    yield (
        "with the argument you it prints hello you",
        given == "hello you",
        (f"it printed {given[:120]!r}. An argument takes the place of CMD; in a line without brackets it is lost"),
    )


def _why_not_both(image):
    entrypoint, command = (image.attrs["Config"].get(name) or [] for name in ("Entrypoint", "Cmd"))
    if entrypoint[:2] == ["/bin/sh", "-c"]:
        return "its ENTRYPOINT is read by a shell, and that hands no CMD on. What do brackets change?"
    return "What is CMD for?" if not command else "What are its ENTRYPOINT and its CMD, word by word?"


# 06 The second practical


@exercise("06-only-here", "container", "which argument publishes a port, and at which address of this computer?")
def only_here(client, container):
    """Run the web app so that this computer can reach it, and no other can."""
    yield _runs(container, "what does its log say? container.logs()")
    bindings = container.attrs["NetworkSettings"]["Ports"].get("8000/tcp") or []
    yield "its port 8000 is published", bindings, "EXPOSE publishes nothing. What does -p look like in Python?"
    hosts = {binding["HostIp"] for binding in bindings}
    there = f"it listens on {', '.join(sorted(hosts))}, that is, on every address."
    yield (
        "on 127.0.0.1 and nowhere else",
        all(ipaddress.ip_address(host).is_loopback for host in hosts),
        f"{there} The SDK's ports= takes a pair, too: an address in numbers, and a port or None",
    )
    then = "at /demo/, it does not. At which address does it listen inside of the container?"
    yield "the web app answers there", _web_app_answers(container), then


@exercise("06-shop", "container", "in which networks does Docker answer for names?")
def shop(client, container):
    """Run the web app so that other containers of its network reach it by the name shop."""
    yield _runs(container, "what does its log say? container.logs()")
    usual = ("bridge", "host", "none")
    networks = {name: one for name, one in container.attrs["NetworkSettings"]["Networks"].items() if name not in usual}
    yield "it is in a network of your own", networks, "the usual network knows no names. Which call makes another?"
    ask = ["python3", "-c", ASK_THE_SHOP]
    told = {name: status_and_output(client, "course/web", ask, network=name)[1].split() for name in networks}
    container.reload()
    found = [name for name, words in told.items() if words]
    yield "there, a second container finds the name shop", found, "a container's own name counts, and aliases="
    mine = [name for name in found if networks[name]["IPAddress"] in told[name]]
    yield "and it means this container", mine, "which container has that name?"
    answers = any("answers" in told[name] for name in mine)
    runs = container.status == "running"
    then = "what runs in it? Is it the web app?" if runs else "it has ended. What does its log say?"
    yield "which answers there on port 8000", answers, then


ASK_THE_SHOP = """
import socket, sys, time, urllib.error, urllib.request
try:
    print(*{entry[4][0] for entry in socket.getaddrinfo("shop", 8000, socket.AF_INET)})
except OSError:
    sys.exit()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for attempt in range(25):  # it may have been started a moment ago
    try:
        page = opener.open("http://shop:8000/demo/", timeout=4).read()
        sys.exit(print("answers" * (b"made by Django" in page)))
    except urllib.error.HTTPError:
        sys.exit()
    except OSError:
        time.sleep(0.3)
"""


# 07 Multi-stage builds


@exercise("07-smaller", "image", "which two files are needed when it runs? How do the others come in?")
def smaller(client, image):
    """Make the image of the small web server smaller than 20 MB; it still has to answer."""
    mb = size(image) / 1e6
    with brief_container(client, image, ports={"8000/tcp": None}) as (web, why):
        page = _page(web) if web else None
        said = web.logs(tail=5).decode(errors="replace") if web else why
    yield (
        "it answers on port 8000",
        page and page.strip() == b"Here I am.",
        f"it said: {_end(said)}. Is the page there, too?",
    )
    yield f"it is smaller than 20 MB (it has {mb:.3g} MB)", mb < 20, "what does the last FROM begin with?"


@exercise("07-borrow", "image", "COPY --from= takes the name of a stage. What else could stand there?")
def borrow(client, image):
    """Make an image of Debian that has the file manage.py of course/web, and nothing else of it."""
    found = read_file(image, "/manage.py")
    yield "it has a file /manage.py", found is not None, "to which path did you copy it?"
    wanted = read_file(client.images.get("course/web"), "/app/manage.py")
    yield "with the same content", found == wanted, "was it copied out of the image, or written anew?"
    last = client.images.get("course/web").attrs["RootFS"]["Layers"][-1]
    apart = read_file(image, "/app/manage.py") is None and last not in image.attrs["RootFS"]["Layers"]
    yield "it begins from another image than course/web", apart, "what does the last FROM name?"
    alone = read_file(image, "/requirements.txt") is None and read_file(image, "/demo/views.py") is None
    yield "and nothing else comes from there", alone, "COPY takes a file as well as a folder. What did you name?"
    yield "and it has Debian's shell", read_file(image, "/usr/bin/dash") is not None, "what does FROM name?"


# 08 Distroless images


@exercise("08-users", "answer", "the engine hands out files of a container that has neither ls nor cat. How?")
def users(client, answer):
    """Find out how many users /etc/passwd of the distroless image has."""
    names = ("course/distroless/python3-debian12", "course/debian:bookworm-slim")
    right, debian = [str(len(read_file(client.images.get(name), "/etc/passwd").splitlines())) for name in names]
    then = {
        debian: "that is the number in Debian's image. Which image did you ask?",
        str(int(right) + 1): "that is one too many. Is the last line empty?",
    }
    yield (
        "it is the number of lines in that file",
        answer == right,
        then.get(answer, "one line, one user, and a number is asked for: Python can read the file in there"),
    )


@exercise("08-version", "image", "which program reads a CMD without brackets?")
def version(client, image):
    """Mend Dockerfile.form, so that its image prints Python's version."""
    shell = read_file(image, "/bin/sh")
    status, said = status_and_output(client, image, awake=True, network_mode="none")
    yield "it runs, and ends with status 0", status == 0, f"it said: {_end(said, 160)}. Who was given these words?"
    told = re.search(r"\b3\.\d+\.\d+", said)
    yield "it prints Python's version", told, f"it said {said[:99]!r}. Which option tells it?"
    yield "and it has no shell", shell is None, "that works with a shell, too. Which base has none?"


@exercise("08-not-root", "container", "who says as which user a container runs: the image, or the one who starts it?")
def not_root(client, container):
    """Run the web app on distroless as another user than root, so that it answers."""
    yield _runs(container, "what does its log say? container.logs()")
    yield "its image has no shell", not _said(container, "sh", "-c", "echo yes"), "which image did you take?"
    who = _said(container, "python3", "-c", "import os; print(os.getuid())")
    yield "it has Python", who.isdigit(), "is it course/web-distroless?"
    yield "its user is not root", who != "0", "its number is 0, and that is root. USER in the Dockerfile, or user="
    yield "the web app answers", _web_app_answers(container), "is its port 8000 published?"


# 09 The third practical


@exercise("09-answer", "container", "a container that has ended still has its log. Who removed it, in `calculate`?")
def answer(client, container):
    """Have the calculator compute 6 * 7, and keep its container with the answer in its log."""
    with contextlib.suppress(requests.exceptions.RequestException):  # it may be at work still
        container.wait(timeout=10 if engine.vm.is_ours(client) else 1.5)
    container.reload()
    text = container.logs().decode(errors="replace")
    yield "its log has the answer", "6 * 7 = 42" in text, f"its log says: {_end(text)}. Did it get the line?"
    ended = container.status == "exited" and container.attrs["State"]["ExitCode"] == 0
    yield "and it has ended by itself", ended, "it still waits for a line. How does it learn that none will come?"
    computes = "40 + 2 = 42" in _calculated(client, container.image, "40 + 2")
    yield "its image is the calculator's", computes, "it does not compute another line. Which image did you run?"


@exercise("09-signed", "image", "which instruction writes down who made an image, and adds no file?")
def signed(client, image):
    """Make an image of the calculator, below 2 MB, that tells its author in the usual label."""
    said = _calculated(client, image, "40 + 2")
    yield "it computes", "40 + 2 = 42" in said, f"it said: {_end(said)}. What does ENTRYPOINT name?"
    mb = size(image) / 1e6
    yield f"it is smaller than 2 MB (it has {mb:.3g} MB)", mb < 2, "what does its last FROM begin with?"
    author = (image.labels or {}).get("org.opencontainers.image.authors", "").strip()
    yield (
        "its label org.opencontainers.image.authors has a name",
        author,
        "LABEL name=value; in which stage does it count?",
    )
