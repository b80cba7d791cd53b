"""Images: base images, builds, sizes and layers."""

import re
import shutil
import zlib
from pathlib import Path

import docker
import requests

from helpers import bootstrap, engine, host_settings, state
from helpers.errors import CourseError, explain, gone, message
from helpers.network import proxies, silent, unreachable
from helpers.progress import progress

LITTLE = 3e8  # bytes of disk: what fails then failed for want of room


def base_image(client, name, with_host_settings=False):
    """
    Return a base image as ``course/<name>``, and print where it came from.

    An image that is there already is used; else it is pulled from its registry; else, where no registry answers,
    it is made from Debian packages (``helpers/bootstrap.py`` has the recipes). With ``with_host_settings``, this
    computer's certificate authorities and pip settings are added as a layer on top, so that ``pip`` works in a build
    behind a proxy that inspects TLS; where this computer has none, the plain image is returned.
    SDK calls: ``client.images.get``, ``client.api.pull``, ``image.tag``, ``client.api.import_image``.

    Raises:
        CourseError: not here, not in a registry, and no recipe for it; with what was tried.

    Example::

        base = base_image(client, "debian:bookworm-slim")
    """
    tag = _course_name(name)
    try:
        image, origin = _find(client, name)
    except requests.exceptions.ConnectionError as error:
        raise gone(error, f"looking for the image {name}") from None
    print(f"{tag}: {origin}")
    if not with_host_settings:
        return image
    image, added = host_settings.layer_on(client, image, tag)
    print(added)
    return image


def _find(client, name):
    course_name = _course_name(name)
    for candidate, origin in ((course_name, "here already"), (name, "an image that you had already")):
        try:
            image = client.images.get(candidate)
        except docker.errors.ImageNotFound:
            continue
        except docker.errors.APIError as error:
            remedy = "write the name in lower case, such as debian:bookworm-slim"
            raise CourseError(message(f"looking for the image {name}", error.explanation, remedy)) from error
        image.tag(course_name)
        return client.images.get(course_name), origin
    try:
        pull(client, name)
    except docker.errors.APIError as error:
        said = error.explanation or str(error)
        recipe = bootstrap.RECIPES.get(name)
        if recipe is None:
            raise CourseError(
                message(
                    f"docker pull {name}",
                    said,
                    f"check the name. Without a registry these can be made: {', '.join(bootstrap.RECIPES)}",
                )
            ) from error
        print(f"{name}: no registry gave it ({said.strip()}); making it from Debian packages, about half a minute")
        with state.Lock(state.folder() / f"base-{re.sub(r'[^a-z0-9]', '-', course_name)}.lock"):
            if not client.images.list(course_name):  # another notebook may have made it meanwhile
                recipe(client, course_name)
        return client.images.get(course_name), "made from Debian packages"
    client.images.get(name).tag(course_name)
    client.images.remove(name)  # only the name: nothing but course/* stays on this engine
    return client.images.get(course_name), f"pulled as {name}"


def _course_name(name):
    """Return ``course/…`` for a name, without the registry that it may begin with."""
    repository, tag = docker.utils.parse_repository_tag(name)
    registry, slash, path = repository.partition("/")
    if slash and (registry == "localhost" or re.search("[.:]", registry)):
        repository = path
    return f"course/{repository.removeprefix('course/')}:{tag or 'latest'}"


def pull(client, name):
    """
    Pull an image from its registry with a progress bar in bytes, layer by layer.

    SDK call: ``client.api.pull(stream=True, decode=True)``.

    Raises:
        docker.errors.APIError: the registry, or the way to it, said no.

    Example::

        pull(client, "debian:bookworm-slim")
    """
    repository, tag = docker.utils.parse_repository_tag(name)
    layers, ready = {}, set()
    with progress(total=0, desc=f"pulling {name}", unit="B", unit_scale=True) as bar:
        for event in client.api.pull(repository, tag=tag or "latest", stream=True, decode=True):
            if "error" in event:
                raise docker.errors.APIError(f"docker pull {name}", explanation=event["error"])
            layer, detail = event.get("id"), event.get("progressDetail") or {}
            if event.get("status") == "Downloading" and detail.get("total"):
                layers[layer] = (detail["current"], detail["total"])
            elif event.get("status") in ("Download complete", "Pull complete", "Already exists"):
                ready.add(layer)
                layers[layer] = (layers.get(layer, (0, 0))[1],) * 2
            bar.total = sum(total for _, total in layers.values())
            bar.set_postfix_str(f"{len(ready)} of {len(layers)} layers", refresh=False)
            bar.update(sum(done for done, _ in layers.values()) - bar.n)


def build(client, path, tag, base=None, **sdk_arguments):
    """
    Build an image from a folder with a Dockerfile, print its steps, and return docker-py's ``Image``.

    ``base`` (an image or a name) becomes the build argument BASE. Everything else goes to the SDK as it is:
    ``dockerfile=``, ``target=``, ``nocache=``, ``buildargs=``. Proxies of this computer reach the build as docker's
    own predefined arguments, which no layer keeps. SDK call: ``client.api.build``.

    Raises:
        docker.errors.BuildError: the failing instruction, the tail of its log (``error.build_log`` has it all), and
            what to do next.
        CourseError: there is no such folder.

    Example::

        image = build(client, "apps/first", tag="course/first", base=base)
    """
    if not Path(path).is_dir():
        said = "that is a file" if Path(path).is_file() else "there is no such folder"
        remedy = f"give the folder that holds the Dockerfile; looked from here: {Path.cwd()}"
        raise CourseError(message(f"docker build {path}", said, remedy))
    buildargs = {**proxies(), **sdk_arguments.pop("buildargs", {})}
    if base is not None:
        buildargs["BASE"] = base if isinstance(base, str) else _course_tag(base)
    options = {"rm": True, "forcerm": True, **sdk_arguments}
    log, made = [], []
    try:
        events = client.api.build(path=str(path), tag=tag, buildargs=buildargs, decode=True, **options)
        image_id = _follow(events, f"building {tag}", log, made)
    except docker.errors.BuildError as error:
        raise _build_error(error.msg, log, path, tag, _room(client)) from None
    except docker.errors.DockerException as error:  # the Dockerfile or a name could not be read: nothing was run
        raise _build_error(getattr(error, "explanation", None) or str(error), log, path, tag) from None
    except requests.exceptions.ConnectionError as error:
        raise gone(error, f"docker build -t {tag} {path}") from None
    finally:
        remember(made)
    return client.images.get(image_id)


def _follow(events, title, log, made):
    """Print the steps as they come; fill ``log`` with every line and ``made`` with the ids of new images."""
    image_id, step, cached = None, "", False
    with progress(total=None, desc=title) as bar:
        for event in events:
            if "error" in event:
                raise docker.errors.BuildError(event["error"], log)
            image_id = (event.get("aux") or {}).get("ID", image_id)
            for line in event.get("stream", "").splitlines():
                if not line.strip():
                    continue
                log.append(line)
                if match := re.match(r"Step (\d+)/(\d+) : (\w+)", line):
                    step, cached = match[3].upper(), False
                    print(line.rstrip())
                    bar.total = int(match[2])
                    bar.n = int(match[1]) - 1
                    bar.refresh()
                elif line.startswith(" ---> Using cache"):
                    cached = True
                elif line.startswith("[Warning]"):
                    print(line)
                elif (match := re.match(r" ---> ([0-9a-f]{12})$", line)) and step != "FROM" and not cached:
                    made.append(match[1])
                else:
                    bar.set_postfix_str(line.strip()[:60], refresh=False)
                    bar.update(0)
    return image_id


def _room(client):
    """Return the bytes that are free on the engine's disk, where that can be seen from here."""
    root = engine.disk(client)
    return shutil.disk_usage(root).free if root else None


def _build_error(said, log, path, tag, room=None):
    step = next((line for line in reversed(log) if line.startswith("Step ")), "")
    since = log[log.index(step) + 1 :] if step in log else []
    own_words = [line for line in since if not line.startswith((" ---> ", "Removing intermediate container"))]
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in [*own_words[-8:], said.strip()]]
    tail = "\n".join(line for line in lines if line)
    where = f"at {step.strip()}" if step else "before its first step"
    error = docker.errors.BuildError(f"{where}: {said.strip()}", list(log))
    advice = _build_advice(said, tail)
    if room is not None and room < LITTLE:
        advice = f"{room / 1e6:.0f} MB of disk are left: free some (python3 -m helpers doctor says where), build again"
    return explain(error, f"docker build -t {tag} {path} stopped {where}", tail, advice)


BUILD_ADVICE = {  # what the engine says → what to do next
    "must be lower ?case|invalid reference format": "write the image's name in lower case, without spaces",
    "parse error|unknown instruction|unknown flag": "mend that line of the Dockerfile: each begins with an instruction",
    "Cannot locate specified Dockerfile": "write a Dockerfile there, or name it: build(..., dockerfile='…')",
    "no build stage|cannot be empty": "begin the Dockerfile with FROM",
    "should not be blank": "give the base: build(..., base=base)",
    "COPY failed|ADD failed|file not found": "COPY takes files from the build's folder: is it there? In .dockerignore?",
    "no space left": "free some disk space: python3 -m helpers doctor says how much there is",
    "/bin/(ba)?sh.*no such file": "this base has no shell for RUN: do that step in an earlier stage, then COPY",
    "returned a non-zero code": "the command in that step failed: read its own words above, mend it, build again",
    "denied|not found|unauthorized": "check the spelling of the name after FROM; a private image needs docker login",
    "dial tcp|lookup|timeout|no such host|x509": "no registry can be reached: base_image(client, …) makes the base",
    "target|stage": "target= takes the name after AS in the Dockerfile",
}
NO_NETWORK = (
    "resolv|name resolution|Network is unreachable|Could not connect|Connection (timed out|refused)|Failed to fetch"
    "|Cannot connect to proxy"
)
NO_TRUST = "CERTIFICATE_VERIFY_FAILED|certificate verif|SSLError"


def _build_advice(said, log):
    if "returned a non-zero code" in said and re.search(f"{NO_NETWORK}|{NO_TRUST}", log, re.IGNORECASE):
        return _network_advice(re.search(NO_TRUST, log, re.IGNORECASE))
    found = (advice for pattern, advice in BUILD_ADVICE.items() if re.search(pattern, said, re.IGNORECASE))
    return next(found, "read the engine's words above")


def _network_advice(no_trust):
    if down := silent():
        return f"this computer's proxy {down[0][0]} does not answer: correct it, or unset the variable that names it"
    if there := unreachable():
        return (
            f"no container can reach your proxy {there}: have it listen on an address of this computer, such as "
            "docker0's (ip address), and name that in HTTPS_PROXY"
        )
    if no_trust:
        return (
            "that step met certificates that it does not trust: export PIP_CERT=/path/to/ca.pem, start lab again, and "
            "build on base_image(…, with_host_settings=True)"
        )
    return "that step did not get through to the network: is this computer online? Behind a proxy: set HTTPS_PROXY"


def size(image):
    """
    Return the bytes of an image on disk: the sum of its layers, unpacked.

    The engine's own ``Size`` means different things with different image stores. SDK call: ``image.history``.

    Example::

        size(image)
    """
    return sum(entry["Size"] for entry in _history(image))


def layers(image):
    """
    Return what each instruction added, oldest first: rows with ``instruction`` and ``bytes``.

    SDK call: ``image.history``.

    Example::

        table(layers(image))
    """
    return [
        {"instruction": _instruction(entry), "bytes": entry["Size"]}
        for entry in reversed(_history(image))
    ]  # fmt: skip


def _history(image):
    if isinstance(image, str):
        remedy = f"take the image itself: client.images.get({image!r})"
        raise CourseError(message(f"reading the layers of {image!r}", "that is a name, not an image", remedy))
    return image.history()


def _instruction(entry):
    text = re.sub(r"^\|\d+ .*?(?=/bin/)", "", entry.get("CreatedBy") or "")  # build arguments that a RUN was given
    text = re.sub(r"\s*# buildkit$", "", text)
    text = re.sub(r"^/bin/(?:ba)?sh -c #\(nop\)\s+", "", text)
    text = re.sub(r"^(?:RUN )?/bin/(?:ba)?sh -c ", "RUN ", text)
    text = re.sub(r"^(COPY|ADD) (?:--\S+ )?(?:file|dir|multi):[0-9a-f]+ in ", r"\1 … ", text)  # the classic builder's
    imported = (entry.get("Comment") or "").startswith("Imported from")  # docker import, of a bootstrapped base
    return "base image" if imported else " ".join(text.split()) or entry.get("Comment") or "base image"


def compare(images, compressed=False):
    """
    Return one row an image: ``name``, ``bytes`` (unpacked), ``layers`` (with files in them), ``user``.

    With ``compressed``, also ``compressed_bytes``: its layers gzipped, about what a pull costs; that reads the whole
    image from the engine, once for each layer. SDK calls: ``image.history``, ``image.attrs``, ``image.save``.

    Example::

        rows = compare({"single stage": single, "two stages": multi})
    """
    rows = []
    for name, image in images.items():
        row = {
            "name": name,
            "bytes": size(image),
            "layers": len(image.attrs["RootFS"].get("Layers") or []),
            "user": image.attrs["Config"].get("User") or "root",
        }
        if compressed:
            row["compressed_bytes"] = compressed_size(image)
        rows.append(row)
    return rows


def compressed_size(image):
    """
    Return the bytes of an image's layers after gzip, about what a pull or push moves; remembered by image id.

    SDK call: ``image.save``.

    Example::

        compressed_size(image)
    """
    return state.once("compressed", image, lambda: _compressed_size(image))


def _compressed_size(image):
    gzip, count = zlib.compressobj(6, wbits=31), 0
    with progress(total=size(image), desc="compressing", unit="B", unit_scale=True) as bar:
        for chunk in image.save():
            count += len(gzip.compress(chunk))
            bar.update(len(chunk))
    return count + len(gzip.flush())


def remember(image_ids):
    """Keep the ids of images that our builds made: stages and failed builds have no name and perhaps no label."""
    if image_ids:
        with (state.folder() / "built-images").open("a") as file:
            file.writelines(f"{image_id}\n" for image_id in image_ids)


def _course_tag(image):
    return next((tag for tag in image.tags if tag.startswith("course/")), image.tags[0] if image.tags else image.id)
