"""What an engine is asked about itself, and what its builds depend on; none is started."""

import stat

import pytest

from helpers import engine


@pytest.mark.parametrize(("accelerator", "seconds"), [(None, 10), ("kvm", 20), ("tcg", 80)])
def test_patience(monkeypatch, accelerator, seconds):
    """Something may take longer in a virtual machine, and longest where its processor is emulated."""
    monkeypatch.setattr(engine, "accelerator", lambda client: accelerator)
    assert engine.patience(None, 10) == seconds


def test_modes_are_those_of_git(monkeypatch, tmp_path):
    """Whatever the umask was when it was cloned, files that go into images have the modes that git knows."""
    (tmp_path / "app").mkdir(mode=0o700)
    for name, mode in (("serve.sh", 0o700), ("app.py", 0o600), ("open", 0o666)):
        (tmp_path / "app" / name).touch()
        (tmp_path / "app" / name).chmod(mode)
    monkeypatch.setattr(engine, "BUILT_FROM", [tmp_path])
    engine.reset_modes()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"app": 0o755, "serve.sh": 0o755, "app.py": 0o644, "open": 0o644}
