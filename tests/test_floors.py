"""The house: each floor imports only from the floors below it, function-level imports included."""

import ast
from pathlib import Path

import pytest

HELPERS = Path(__file__).parents[1] / "helpers"
FLOORS = (  # from the ground up; rooms on one floor do not know each other
    ("errors", "state", "waiting"),
    ("progress",),
    ("host",),
    ("machines",),
    ("engine",),
    ("containers",),
    ("images",),
    ("measure", "lessons"),
    ("workshop", "commands"),
    ("__main__",),
)
HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
BY_PUBLIC_NAME = {"workshop", "commands"}  # as notebooks do


def room_of(path):
    """Return the room that a file stands in: the folder below ``helpers``, or the file's own name."""
    return path.relative_to(HELPERS).parts[0].removesuffix(".py")


def imported(source):
    """Return the modules of ``helpers`` that a source imports anywhere, such as ``helpers.host.apt``."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "helpers"}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "helpers":
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def wrong_imports(room, source):
    """Return the imports of a source in a room that do not lead to a lower floor, or to the room itself."""
    wrong = []
    for name in sorted(imported(source)):
        other = name.split(".")[1] if "." in name else None
        if other in HEIGHT:
            wrong += [name] if other != room and HEIGHT[other] >= HEIGHT[room] else []
        elif room not in BY_PUBLIC_NAME:
            wrong.append(name)
    return wrong


def files():
    """Return the package's files, without the one that names the public functions."""
    return [path for path in sorted(HELPERS.rglob("*.py")) if path != HELPERS / "__init__.py"]


def test_each_room_has_a_floor():
    """A new room gets one, and a floor's room is there."""
    assert {room_of(path) for path in files()} == set(HEIGHT)


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(HELPERS).as_posix())
def test_imports_lead_down(path):
    """No arrow leads up, or to a neighbour on the same floor."""
    assert wrong_imports(room_of(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("host", "def late():\n    from helpers.images.bases import base_image"),
        ("engine", "from helpers import images"),
        ("measure", "import helpers.lessons.draw"),
        ("lessons", "from helpers.workshop import fill"),
        ("containers", "from helpers import build"),
    ],
)
def test_an_arrow_up_is_found(room, source):
    """In a function, too, and in each way to write an import."""
    assert wrong_imports(room, source)


def test_no_file_imports_itself_in_a_circle():
    """Within a room, too: taking files away that import none of the others leaves none."""
    names = {".".join(path.relative_to(HELPERS.parent).with_suffix("").parts): path for path in files()}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    arrows = {
        name: {_file(one, names) for one in imported(path.read_text())} - {name, None} for name, path in names.items()
    }
    while free := [name for name, others in arrows.items() if not others & arrows.keys()]:
        for name in free:
            del arrows[name]
    assert arrows == {}


def _file(name, names):
    """Return the file that an imported name stands in: the name of a module, or of something in it."""
    parts = name.split(".")
    candidates = [".".join(parts[:count]) for count in range(len(parts), 1, -1)]
    return next((one for one in candidates if one in names), None)
