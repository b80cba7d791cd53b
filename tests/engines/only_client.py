"""A pytest plugin of tests/engines/rehearse: keep what uses the engine that DOCKER_HOST names, and leave the rest."""

OWN_ENGINE = {"state_home", "state_homes"}  # fixtures of tests that start one in a state folder of their own


def pytest_collection_modifyitems(config, items):
    """Keep cells of notebooks, and tests with no more than the client of an engine."""
    kept, left_out = [], []
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        wanted = item.path.suffix == ".ipynb" or ("client" in names and not names & OWN_ENGINE)
        (kept if wanted else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept
