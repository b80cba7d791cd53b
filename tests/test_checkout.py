"""A checkout has the repository's own bytes on every system, Git for Windows with its CRLF included."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PICTURES = {".png", ".jpg", ".gif"}  # bytes in which CR LF may stand by chance

pytestmark = pytest.mark.skipif(
    not (ROOT / ".git").exists() or shutil.which("git") is None,
    reason="there is nothing to clone: this is no git checkout, or git is not installed",
)


def git(folder, *arguments):
    """Run git in a folder; return what it printed, as bytes."""
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True).stdout


def tracked(folder):
    """Return the paths of all files of a clone, without the links among them."""
    names = git(folder, "ls-files", "-z").decode().rstrip("\0").split("\0")
    return [folder / name for name in names if not (folder / name).is_symlink()]


def with_crlf(folder):
    """Return the names of a clone's text files that have CRLF."""
    texts = [path for path in tracked(folder) if path.suffix not in PICTURES]
    return {path.relative_to(folder).as_posix() for path in texts if b"\r\n" in path.read_bytes()}


@pytest.fixture
def clone(tmp_path):
    """Clone HEAD (not what is uncommitted) with the settings of Git for Windows; check out no file yet."""
    folder = tmp_path / "clone"
    options = ["--config", "core.autocrlf=true", "--config", "core.eol=crlf", "--no-checkout", "--quiet"]
    git(ROOT, "clone", *options, str(ROOT), str(folder))
    return folder


def test_no_script_and_nothing_for_an_image_has_crlf(clone):
    """All text has LF, whatever git's settings say: what goes into images, what shells run, and everything else."""
    git(clone, "checkout", "--quiet")
    assert len(tracked(clone)) > 100
    assert with_crlf(clone) == set()


def test_every_file_has_the_bytes_of_its_commit(clone):
    """Sizes and cache steps are the same everywhere, and pictures are whole."""
    git(clone, "checkout", "--quiet")
    paths = tracked(clone)
    stored = git(clone, "rev-parse", *[f"HEAD:{path.relative_to(clone).as_posix()}" for path in paths])
    on_disk = git(clone, "hash-object", "--no-filters", "--", *map(str, paths))
    assert on_disk == stored


def test_without_gitattributes_a_script_has_crlf(clone):
    """The tests above can fail: it is .gitattributes that keeps LF."""
    info = clone / ".git" / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text("* !text !eol\n")
    git(clone, "checkout", "--quiet")
    assert {"notebooks/apps/django/serve.sh", "notebooks/apps/first/Dockerfile"} <= with_crlf(clone)
