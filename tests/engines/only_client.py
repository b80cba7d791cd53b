"""A pytest plugin of tests/engines/rehearse: keep what uses the engine that DOCKER_HOST names, and leave the rest."""


def pytest_collection_modifyitems(config, items):
    """Keep cells of notebooks, and tests with the client of an engine: others start engines of this computer."""
    kept = [item for item in items if item.path.suffix == ".ipynb" or "client" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept
