"""One build by the engine's BuildKit: the request, the session that it calls back on, and its answer."""

import json
import re
import secrets

import docker

from helpers.images import messages
from helpers.images.context import DIFF_COPY, diff_copy
from helpers.images.session import NOT_FOUND, Refused, session, slow, unary

GET_SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"
CREDENTIALS = "/moby.filesync.v1.Auth/Credentials"
HUB = "registry-1.docker.io"
STORED_AT_ONCE = 'image ".*": already exists|failed to prepare extraction snapshot'  # by containerd, in Docker 26
SWITCHES = ("nocache", "pull")
IN_JSON = ("buildargs", "labels", "cache_from")
AS_THEY_ARE = ("target", "platform", "network_mode")
ARGUMENTS = (*AS_THEY_ARE, *SWITCHES, *IN_JSON)  # of client.images.build, that the API's parameters have
TRIES = 3  # of a build: the second has its steps from the cache


def solve(client, trace, folder, file, text=None, given=None, changed=lambda: None, build_id=None, **parameters):
    """
    Have the engine build a folder with a Dockerfile, and tell a ``Trace`` all that it says.

    ``text`` is sent in place of the Dockerfile, ``given`` are the secrets; ``changed`` is called after each answer;
    ``build_id`` is what ``cancel`` takes. The parameters are those of the API. If the build is interrupted, the engine
    stops it. Where builds that end at the same moment have kept this one from storing its image, it is asked for again.
    API calls: ``POST /session``, ``POST /build?version=2``, ``POST /build/cancel``.

    Raises:
        docker.errors.BuildError: the engine stopped the build; with its words.
        docker.errors.APIError: the engine refused it.
        CourseError: a file could not be sent.
    """
    services = _services(client, folder, file, text, given or {})
    build_id = build_id or secrets.token_hex(12)
    for tries_left in reversed(range(TRIES)):
        try:
            return _ask(client, trace, folder, file, services, changed, build_id, parameters)
        except docker.errors.BuildError as error:
            if not tries_left or not re.search(STORED_AT_ONCE, str(error)):
                raise
            trace.try_again()


def _ask(client, trace, folder, file, services, changed, build_id, parameters):
    with session(client, services, shared_key=str(folder.absolute())) as opened:
        asked = {"version": "2", "remote": "client-session", "session": opened.id, "buildid": build_id}
        asked |= {"dockerfile": file.name, **parameters}
        try:
            response = client.api._post(client.api._url("/build"), params=asked, stream=True, timeout=None)
            client.api._raise_for_status(response)
            for answer in client.api._stream_helper(response, decode=True):
                trace.take(answer)
                changed()
        except (docker.errors.BuildError, docker.errors.APIError):
            if opened.error:
                raise opened.error from None
            raise
        except BaseException:
            cancel(client, build_id)
            raise


def cancel(client, build_id):
    """Have the engine stop a build; it answers when it has heard, not when the build has ended."""
    client.api._post(client.api._url("/build/cancel"), params={"id": build_id})


def _services(client, folder, file, text, given):
    texts = {} if text is None else {("dockerfile", file.name): text}
    return {
        DIFF_COPY: diff_copy({"context": folder, "dockerfile": file.parent}, texts),
        GET_SECRET: unary(lambda message: _secret(message, given)),
        CREDENTIALS: slow(lambda message: _credentials(message, client)),  # of a program, which may ask the user
    }


def _secret(message, given):
    name = messages.GetSecretRequest.loads(message).id
    if name not in given:
        raise Refused(NOT_FOUND, f"secret {name}: not found")
    value = given[name]
    return bytes(messages.GetSecretResponse(value.encode() if isinstance(value, str) else bytes(value)))


def _credentials(message, client):
    """Answer with the login that docker-py knows for a registry; where its program fails, with none, as docker does."""
    host = messages.CredentialsRequest.loads(message).host
    try:
        found = client.api._auth_configs.resolve_authconfig(None if host == HUB else host) or {}
    except (docker.errors.DockerException, OSError, ValueError, KeyError):  # or it answered what is no login
        found = {}
    token = found.get("IdentityToken") or found.get("identitytoken")
    if token:
        return bytes(messages.CredentialsResponse("", token))
    name, password = (found.get(key) or found.get(key.lower()) or "" for key in ("Username", "Password"))
    return bytes(messages.CredentialsResponse(name, password))


def parameters(tag, arguments):
    """
    Return the API's parameters for arguments of ``client.images.build``.

    Raises:
        TypeError: there is no such argument.
    """
    found = {"t": tag} if tag else {}
    for name, value in arguments.items():
        if name in IN_JSON:
            texts = [str(one) for one in value] if name == "cache_from" else {k: _text(v) for k, v in value.items()}
            found[name.replace("_", "")] = json.dumps(texts)
        elif name in AS_THEY_ARE:
            found[name.replace("_", "")] = value
        elif name in SWITCHES:
            found[name] = "1" if value else "0"
        elif name not in ("rm", "forcerm"):  # the older builder's containers: BuildKit has none
            raise TypeError(name)
    return found


def _text(value):
    return value if value is None else str(value)
