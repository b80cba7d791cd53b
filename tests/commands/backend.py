"""A build backend of one file: with it, pip installs a copy of the course without asking any index."""

import json
import tomllib
import zipfile
from pathlib import Path


def write_wheel(folder, name, version, files, requires=()):
    """Write a wheel with some files, ``{name: text}``; return its file name."""
    about = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    content = {
        **files,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: course\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*content, f"{about}/RECORD"])
    wheel = Path(folder) / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**content, f"{about}/RECORD": record}.items():
            archive.writestr(path, text)
    return wheel.name


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """Write the wheel of a package that stays where it is, as PEP 660 has it."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    name = project["name"].replace("-", "_")
    return write_wheel(
        wheel_directory, name, project["version"], {f"{name}.pth": f"{Path.cwd()}\n"}, project["dependencies"]
    )


def write_pyproject(folder, *dependencies):
    """Write a pyproject.toml that names this backend."""
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "docker-measured"\nversion = "0.1.0"\ndependencies = {json.dumps(dependencies)}\n'
    )
