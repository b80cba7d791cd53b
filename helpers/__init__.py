"""
Docker, measured: thin helpers around the Docker SDK for Python.

=============  ==================================================================================
an engine      connect, proxies
images         base_image, build, build_steps, stages, lint, size, layers, contents, compare, security_fixes,
               cache_records
containers     run, url, labels, server
measuring      measure_container, measure_vm, measure_builders
tables, plots  table, plot_bars, plot_layers, plot_lines, plot_density, plot_timeline, plot_stages
verdicts       claim, ledger
exercises      check, exercises, quiz
to play with   playground, explore_layers, explore_entrypoint, explore_ports, watch
afterwards     cleanup
=============  ==================================================================================

Functions take and return docker-py's own objects, dicts and numbers (bytes, seconds). Names load when they are first
used, so that importing this package costs nothing and ``python3 -m helpers`` runs before anything is installed.
"""

import importlib

_HOMES = {
    "connect": "engine",
    "proxies": "host.network",
    "base_image": "images.bases",
    "build": "images.build",
    "build_steps": "images.build",
    "stages": "images.dockerfile",
    "lint": "images.lint",
    "cache_records": "engine.build_cache",
    "size": "images.layers",
    "layers": "images.layers",
    "contents": "images.contents",
    "security_fixes": "images.fixes",
    "compare": "images.layers",
    "run": "containers.run",
    "url": "containers.url",
    "labels": "containers.run",
    "server": "lessons.servers",
    "table": "lessons.table",
    "plot_bars": "lessons.plots",
    "plot_layers": "lessons.plots",
    "plot_lines": "lessons.plots",
    "plot_density": "lessons.plots",
    "plot_timeline": "lessons.plot_timeline",
    "plot_stages": "lessons.plot_stages",
    "measure_container": "measure.containers",
    "measure_vm": "measure.machines",
    "measure_builders": "measure.builders",
    "claim": "lessons.claims",
    "ledger": "lessons.claims",
    "check": "lessons.checks",
    "exercises": "lessons.checks",
    "quiz": "lessons.quizzes",
    "playground": "lessons.widgets.playground",
    "explore_layers": "lessons.widgets.layers",
    "explore_entrypoint": "lessons.widgets.entrypoint",
    "explore_ports": "lessons.widgets.ports",
    "watch": "lessons.widgets.watch",
    "cleanup": "engine.cleaning",
}

__all__ = list(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'helpers' has no attribute {name!r}; it has {', '.join(_HOMES)}")
    value = getattr(importlib.import_module(f"helpers.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
