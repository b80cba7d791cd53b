"""The messages of BuildKit's gRPC services that a build needs, with the numbers of BuildKit's own .proto files."""

from dataclasses import dataclass, field
from typing import Annotated

from pure_protobuf.annotations import Field
from pure_protobuf.message import BaseMessage


@dataclass
class Timestamp(BaseMessage):
    """A point in time, by the engine's clock."""

    seconds: Annotated[int, Field(1)] = 0
    nanos: Annotated[int, Field(2)] = 0


@dataclass
class Vertex(BaseMessage):
    """A step of a build: what it needs, and how far it is."""

    digest: Annotated[str, Field(1)] = ""
    inputs: Annotated[list[str], Field(2)] = field(default_factory=list)
    name: Annotated[str, Field(3)] = ""
    cached: Annotated[bool, Field(4)] = False
    started: Annotated[Timestamp | None, Field(5)] = None
    completed: Annotated[Timestamp | None, Field(6)] = None
    error: Annotated[str, Field(7)] = ""


@dataclass
class VertexStatus(BaseMessage):
    """A part of a step that goes on inside it, such as the download of a layer."""

    id: Annotated[str, Field(1)] = ""
    vertex: Annotated[str, Field(2)] = ""


@dataclass
class VertexLog(BaseMessage):
    """A piece of what a step's command printed."""

    vertex: Annotated[str, Field(1)] = ""
    msg: Annotated[bytes, Field(4)] = b""


@dataclass
class SourceInfo(BaseMessage):
    """The file that a warning is about."""

    filename: Annotated[str, Field(1)] = ""
    data: Annotated[bytes, Field(2)] = b""


@dataclass
class Position(BaseMessage):
    """A place in a file; lines count from one."""

    line: Annotated[int, Field(1)] = 0
    character: Annotated[int, Field(2)] = 0


@dataclass
class Range(BaseMessage):
    """From one place in a file to another."""

    start: Annotated[Position | None, Field(1)] = None
    end: Annotated[Position | None, Field(2)] = None


@dataclass
class VertexWarning(BaseMessage):
    """What one of Docker's build checks says of a Dockerfile."""

    short: Annotated[bytes, Field(3)] = b""
    detail: Annotated[list[bytes], Field(4)] = field(default_factory=list)
    url: Annotated[str, Field(5)] = ""
    ranges: Annotated[list[Range], Field(7)] = field(default_factory=list)


@dataclass
class StatusResponse(BaseMessage):
    """What has happened in a build since the last one of these; ``moby.buildkit.trace`` in the engine's answer."""

    vertexes: Annotated[list[Vertex], Field(1)] = field(default_factory=list)
    statuses: Annotated[list[VertexStatus], Field(2)] = field(default_factory=list)
    logs: Annotated[list[VertexLog], Field(3)] = field(default_factory=list)
    warnings: Annotated[list[VertexWarning], Field(4)] = field(default_factory=list)


@dataclass
class BytesMessage(BaseMessage):
    """A piece of a connection that is carried inside another one."""

    data: Annotated[bytes, Field(1)] = b""


@dataclass
class HealthCheckResponse(BaseMessage):
    """Whether a session answers: 1 is yes."""

    status: Annotated[int, Field(1)] = 1


@dataclass
class GetSecretRequest(BaseMessage):
    """Which secret a ``RUN --mount=type=secret`` asks for."""

    id: Annotated[str, Field(1)] = ""


@dataclass
class GetSecretResponse(BaseMessage):
    """The secret."""

    data: Annotated[bytes, Field(1)] = b""


@dataclass
class CredentialsRequest(BaseMessage):
    """The registry that asks for a login."""

    host: Annotated[str, Field(1)] = ""


@dataclass
class CredentialsResponse(BaseMessage):
    """A login; empty where there is none."""

    username: Annotated[str, Field(1)] = ""
    secret: Annotated[str, Field(2)] = ""


@dataclass
class Xattr(BaseMessage):
    """An extended attribute of a file."""

    key: Annotated[str, Field(1)] = ""
    value: Annotated[bytes, Field(2)] = b""


@dataclass
class Stat(BaseMessage):
    """A file of the build context; ``mode`` is Go's, not POSIX's."""

    path: Annotated[str, Field(1)] = ""
    mode: Annotated[int, Field(2)] = 0
    uid: Annotated[int, Field(3)] = 0
    gid: Annotated[int, Field(4)] = 0
    size: Annotated[int, Field(5)] = 0
    mtime_ns: Annotated[int, Field(6)] = 0
    linkname: Annotated[str, Field(7)] = ""
    devmajor: Annotated[int, Field(8)] = 0
    devminor: Annotated[int, Field(9)] = 0
    xattrs: Annotated[list[Xattr], Field(10)] = field(default_factory=list)


STAT, REQUEST, DATA, END, ERROR = range(5)  # types of packets


@dataclass
class Packet(BaseMessage):
    """A piece of a file transfer: an entry, a request for a file by its number, a part of it, the end."""

    type: Annotated[int, Field(1)] = STAT
    stat: Annotated[Stat | None, Field(2)] = None
    id: Annotated[int, Field(3)] = 0
    data: Annotated[bytes, Field(4)] = b""
