"""A pytest plugin of tests/engines/rehearse: keep what uses the engine that DOCKER_HOST names, and leave the rest."""


def pytest_collection_modifyitems(config, items):
    """Keep cells of notebooks, and tests with the client of an engine: others start engines of this computer."""
    kept, left_out = [], []
    for item in items:
        wanted = item.path.suffix == ".ipynb" or "client" in getattr(item, "fixturenames", ())
        (kept if wanted else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept
