"""What stopped a build: where in the Dockerfile, in the engine's own words, and what to do next."""

import re
import shutil

import docker

from helpers import engine
from helpers.errors import explain
from helpers.host.network import silent_proxies, unreachable_proxy
from helpers.images.dockerfile import HEREDOC, MADE_OF, instructions, lines_of, stage_rows
from helpers.images.trace import STEP, step_name

LEADING = re.compile(r"^(\.{0,2}/)+")  # of a path: in a message, it begins at the build's folder
LITTLE_DISK_BYTES = 3e8  # what fails on a disk with less failed for want of room
LAST_LINES = 8
NO_NETWORK = (
    "resolv|name resolution|Network is unreachable|Could not connect|Connection (timed out|refused)|Failed to fetch"
    "|Cannot connect to proxy"
)
NO_TRUST = "CERTIFICATE_VERIFY_FAILED|certificate verif|SSLError"
STEP_ADVICE = {  # what a failing step printed → what to do next
    r"/run/secrets/\S+.*no such file": "pass the secret: build(…, secrets={'name': b'…'}), by the name after id=",
    "externally-managed-environment": "make a virtual environment in the Dockerfile (python3 -m venv venv, then "
    "venv/bin/pip install …), or begin with a Python image, such as python:3.13-slim-trixie",
    "/bin/(ba)?sh.*no such file": "this base has no shell for RUN: do that step in an earlier stage, then COPY",
    "Unable to locate package|has no installation candidate": "is the package's name right? RUN apt-get update && "
    "apt-get install -y NAME has the list of packages of today",
    "apt-get: not found": "only Debian and its relatives have apt-get: is the base one of these?",
    r"Do you want to continue\? \[Y/n\]": "nobody can answer in a build: apt-get install -y",
    r"\[\[: not found|source: not found|Bad substitution": (
        'only bash knows that, and RUN calls sh: write SHELL ["/bin/bash", "-c"] before it'
    ),
    r"sh: \d+: /\S+: not found": (
        "is that file there? If so, the program in its first line (#!…) is not, or its lines end as on Windows (CR LF)"
    ),
    "not found|exit code: 127": "the base does not have that program: install it in an earlier step, or fix its name",
    "unable to find (user|group)": "the base does not know that user: RUN useradd … before USER, or take a number",
    "exit code: 126": "that file may not be executed: COPY --chmod=755, or RUN chmod +x before",
    "ermission denied": "this step's user may not do that: move it above USER, or give that user the folder (chown)",
}
REFERENCE = "docs.docker.com/reference/dockerfile"
BUILD_ADVICE = {  # what the engine says → what to do next
    "must be lower ?case|invalid reference format|invalid tag": "write the image's name in lower case, without spaces",
    "no build stage|cannot be empty|no instructions": "begin the Dockerfile with FROM",
    "unterminated heredoc": "end the heredoc by its word, such as EOF, on a line of its own",
    "unknown instruction": "begin each line with an instruction, such as RUN; end one that goes on with a backslash",
    r"unexpected key 'env' in 'env=": "leave env= out: it needs BuildKit of Docker 27.3 or newer; read /run/secrets/…",
    "unknown flag.*link": "leave --link out: it needs BuildKit of Docker 23 or newer",
    "unknown flag|value on flag|unexpected key": f"fix that flag: {REFERENCE} lists them",
    "parse error|requires at least|requires exactly|must have|invalid (containerport|chmod|signal)|unsupported mount": (
        f"fix that line: see {REFERENCE}"
    ),
    "looking for matching|unexpected end of statement": "a quotation mark has no second one: add it, or take it out",
    "not a directory": "a file of that name is there already: take another name for the folder",
    "should not be blank": "give the ARG in FROM a value: ARG NAME=debian:trixie-slim",
    "circular dependency|cannot be used as": "a stage copies from stages above it",
    "target stage|invalid from flag|invalid stage index": (
        "target= and --from= take a name that stands after AS in the Dockerfile"
    ),
    "secret .*not found": "pass it: build(…, secrets={'name': b'…'}), by the name after id=",
    "received message larger": "a secret may have 4 MB at most: take a smaller one",
    "in pattern|illegal exclusion pattern": r"fix that line of .dockerignore: write \[ for a bracket itself",
    "network mode": "network_mode= takes default, host or none here",
    "failed to compute cache key|failed to calculate checksum|COPY failed|ADD failed": (
        "COPY takes files from the build's folder, or from the stage that --from= names: is it there? In .dockerignore?"
    ),
    "ended before it named": "has the engine ended, or a proxy on the way to it? python3 -m helpers doctor looks",
    "no space left": "free some disk space: python3 -m helpers doctor says how much there is",
    "docker/dockerfile": "take the line # syntax= out: it has BuildKit fetch a program from a registry",
    "denied|unauthorized|authorization|no basic auth": "is the name after FROM right? If private: docker login",
    '(^|: )Get "': "is the address after ADD right, and this computer online?",
    r"registry-1\.docker\.io/v2/course/|docker\.io/course/": "build that image first: it is one of the course's own",
    r'"https?://(?!registry-1\.docker\.io)[^/"]+/v2/.*(dial tcp|no such host|timeout)': (
        "the registry that this name begins with does not answer: is it running, and the address right?"
    ),
    "dial tcp|lookup|timeout|no such host|x509|connection refused": (
        "is the name after FROM right? No registry can be reached; base_image(client, …) makes the course's bases"
    ),
    "not found|does not exist": "is the name after FROM right? base_image(client, …) brings the course's bases",
    "did not complete|executor failed": "the command in that step failed with that exit code: fix it, then build again",
    "unknown operating system or architecture": "platform= takes a system and a processor, such as linux/arm64",
}


def build_error(error, trace, client, file, tried, text=None):
    """Return docker-py's ``BuildError`` of a build that stopped, explained: three sentences, the first is ``tried``."""
    said = getattr(error, "explanation", None) or getattr(error, "msg", None) or str(error)
    failed = trace.failed()
    text = _text(file) if text is None else text
    step = step_name(failed, stage_rows(text)) if failed else ""
    is_step = bool(failed and STEP.match(failed.name))
    output = _last_lines(trace.output(failed.digest)) if failed else []
    words = _shortened(said)
    where = f"at {step}" if is_step else "before its first step"
    tail = [*output, words, *_pointer(file.name, text, failed, words)]
    log = [line for digest in trace.logs for line in trace.output(digest).splitlines(keepends=True)]
    stopped = docker.errors.BuildError(f"{where}: {words}", log)
    if not is_step and (row := _row_of_words(instructions(text), words)):  # which engines may leave unnamed
        step = f"{row['keyword']} {row['arguments']}"
    advice = _advice_on_text(text, words) or _advice_on_copy(step, words, tried)
    advice = advice or _advice(words, "\n".join(output), is_step, client)
    return explain(stopped, f"{tried} stopped {where}", "\n".join(tail), advice)


def _text(file):
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def no_buildkit(client, said, tried):
    """Return the error of an engine that has no BuildKit, or None where it has one."""
    names = [part["Name"] for part in client.version().get("Components") or []]
    podman = any("Podman" in name for name in names)
    if not podman and docker.utils.version_gte(client.version()["ApiVersion"], "1.39"):
        return None
    who = "Podman" if podman else f"an engine with API {client.version()['ApiVersion']}"
    said = getattr(said, "explanation", None) or str(said)
    error = docker.errors.BuildError(f"{who} has no BuildKit: {said}", [])
    remedy = "COURSE_ENGINE=dockerd or COURSE_ENGINE=vm starts an engine of the course, which has it"
    return explain(error, tried, f"{who} has no BuildKit ({said})", remedy)


def _last_lines(output):
    """Return the end of what a step printed; the line that begins with ``error:`` stands first, wherever it was."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in output.replace("\r\n", "\n").split("\n")]
    lines = [line for line in lines if line]
    headline = [line for line in lines[:-LAST_LINES] if re.match(r"(?i)(error|fatal|E)\s*:", line)]
    return [*headline[-1:], *lines[-LAST_LINES:]]


def _shortened(said):
    """Return the engine's words without what only its own programs understand."""
    said = re.sub(
        r"failed to solve(?: with frontend \S+)?: |failed to create LLB definition: |rpc error: .*? desc = ",
        "",
        said.strip(),
    )
    said = re.sub(
        r"(?:failed to calculate checksum of ref|failed to compute cache key:) \S+::\w+: ",
        "failed to compute cache key: ",
        said,
    )
    return re.sub("(failed to compute cache key: )+", "failed to compute cache key: ", said)


def _pointer(name, text, failed, said):
    """Return the lines of the Dockerfile that stopped the build, marked, with one line before and after."""
    first, last = _place(text, failed, said)
    if not first:
        return []
    lines = lines_of(text)
    shown = range(max(first - 1, 1), min(last + 1, len(lines)) + 1)
    marked = [f"{'>' if first <= number <= last else ' '} {number:3} │ {lines[number - 1]}" for number in shown]
    return [f"{name}:{first}", *marked]


def _place(text, failed, said):
    """Return the first and the last line of the instruction that stopped the build; zeros where that cannot be told."""
    if found := re.search(r"(?:parse error )?(?:on )?line (\d+)", said):
        return int(found[1]), int(found[1])
    rows = instructions(text)
    step = STEP.match(failed.name) if failed else None
    if row := _row_of_step(rows, stage_rows(text), step) or _row_of_words(rows, said):
        return row["first_line"], row["last_line"]
    named = failed.name if failed and failed.name.startswith("[internal] load metadata for") else said
    for row in rows:
        words = [word for word in re.split(r"[\s=]+", row["arguments"]) if len(word) > 2]
        if any(re.search(rf"(?<![\w./-]){re.escape(word)}(?![\w.-])", _short_names(named)) for word in words):
            return row["first_line"], row["last_line"]
    return 0, 0


def _row_of_step(rows, stages, step):
    """Return the instruction that a step is: by its words, and by its number where these are there twice."""
    if not step:
        return None
    wanted, found = _plain(step["instruction"]), []
    number = dict(enumerate(sum(one.startswith("FROM ") for one in stage["steps"]) for stage in stages))
    for row in rows:
        number[row["stage"]] = number.get(row["stage"], 0) + (row["keyword"] in MADE_OF)
        if _plain(f"{row['keyword']} {row['arguments']}") == wanted:
            found.append((number[row["stage"]] != int(step["number"]), row))
    return min(found, key=lambda one: one[0])[1] if found else None


def _row_of_words(rows, said):
    """Return the only instruction whose keyword, number of a stage, or missing file the engine names; or None."""
    keyword, index = re.search("^([A-Z]+) must have", said), re.search(r"stage index (\d+)", said)
    file = re.search(r'"/(\S+)": not found', said)
    found = [row for row in rows if keyword and row["keyword"] == keyword[1]]
    copies = [row for row in rows if file and row["keyword"] in ("COPY", "ADD")]
    found += [row for row in copies if file[1] in (LEADING.sub("", word) for word in row["arguments"].split())]
    found += [row for row in rows if index and f"--from={index[1]} " in row["arguments"]]
    return found[0] if len(found) == 1 else None


def _short_names(said):
    """Return the engine's words with the names of images as a Dockerfile has them."""
    said = re.sub(r"/v2/(\S+?)/manifests/([^\s\"]+)", r" \1:\2 \1 ", said)
    return re.sub(r"\b(docker\.io/(library/)?|library/)", " ", said)


def _plain(text):
    return " ".join(text.split())


def _advice_on_text(text, said):
    """Return advice that follows from the Dockerfile itself: its encoding, a stage that it does not have; or None."""
    if "\0" in text:
        return "save the Dockerfile as UTF-8: this is another encoding, or no text"
    if "unknown instruction" in said and HEREDOC.search(text):
        return (
            "begin each line with an instruction, such as RUN. BuildKit before Docker 23 takes the lines of a heredoc "
            "(<<EOF) for instructions: write RUN printf … there"
        )
    rows = stage_rows(text)
    names = [row["stage"] for row in rows]
    for name in (name for row in rows for name in row["copies_from"] if name not in names):
        if re.search(rf"/{re.escape(name)}/manifests/|metadata for \S*/{re.escape(name)}\b", said):
            return f"--from={name} names no stage, so it was looked for in a registry; stages here: {', '.join(names)}"
    return None


def _advice_on_copy(step, said, tried):
    """Return advice on a COPY from where this build has nothing to copy from; or None."""
    if "failed to compute cache key" not in said or "--from=" in step:
        return None
    if tried.endswith(" -"):
        return "fileobj= is a Dockerfile without a folder, so COPY has no files: write it into a folder, and give that"
    if re.search(r"(^| |/)\.\./", step):
        return "COPY cannot leave the build's folder: build the folder above it, with dockerfile='folder/Dockerfile'"
    return None


def _advice(said, output, is_step, client):
    if is_step and re.search("exit code|executor failed|did not complete", said):
        if re.search(f"{NO_NETWORK}|{NO_TRUST}", output, re.IGNORECASE):
            return _network_advice(re.search(NO_TRUST, output, re.IGNORECASE))
        free_bytes = _free_disk_bytes(client)
        if free_bytes is not None and free_bytes < LITTLE_DISK_BYTES:
            return f"{free_bytes / 1e6:.0f} MB of disk are left: free some (python3 -m helpers doctor says where)"
        found = _first(STEP_ADVICE, f"{output}\n{said}")
        if found:
            return found
    return _first(BUILD_ADVICE, said) or "compare that line with docs.docker.com/reference/dockerfile, then build again"


def _first(table, text):
    return next((advice for pattern, advice in table.items() if re.search(pattern, text, re.IGNORECASE)), None)


def _free_disk_bytes(client):
    """Return the bytes that are free on the engine's disk, where that can be seen from here."""
    root = engine.disk(client)
    return shutil.disk_usage(root).free if root else None


def _network_advice(no_trust):
    if down := silent_proxies():
        return f"this computer's proxy {down[0][0]} does not answer: correct it, or unset the variable that names it"
    if there := unreachable_proxy():
        return (
            f"no container can reach your proxy {there}: have it listen on an address of this computer, such as "
            "docker0's (ip address), and name that in HTTPS_PROXY"
        )
    if no_trust:
        return (
            "that step met certificates that it does not trust: export PIP_CERT=/path/to/ca.pem and start lab again; "
            "steps that call pip then get it"
        )
    return "that step did not get through to the network: is this computer online? Behind a proxy: set HTTPS_PROXY"
