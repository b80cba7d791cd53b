"""One engine for many processes: who uses it. A file lock tells, which ends with its process, however that ends."""

_held = {}


def hold(folder):
    """Count this process among the users of the engine that a folder belongs to, until it ends."""
    import fcntl

    if folder not in _held:
        file = (folder / "users.lock").open("w")
        fcntl.flock(file, fcntl.LOCK_SH)
        _held[folder] = file


def in_use(users):
    """Return whether a process holds the lock file ``users`` (open); where none does, none can until it is closed."""
    import fcntl

    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
