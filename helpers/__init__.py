"""
Docker, measured: thin helpers around the Docker SDK for Python.

=============  ==================================================================================
an engine      connect, proxies
images         base_image, build, size, layers, contents, compare, security_fixes
containers     run, url, labels, server
measuring      measure_container, measure_vm
tables, plots  table, plot_bars, plot_layers, plot_lines, plot_density, plot_timeline
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
    "proxies": "network",
    "base_image": "images",
    "build": "images",
    "size": "images",
    "layers": "images",
    "contents": "inside",
    "security_fixes": "fixes",
    "compare": "images",
    "run": "containers",
    "url": "containers",
    "labels": "containers",
    "server": "servers",
    "table": "draw",
    "plot_bars": "draw",
    "plot_layers": "draw",
    "plot_lines": "draw",
    "plot_density": "draw",
    "plot_timeline": "draw",
    "measure_container": "measure.containers",
    "measure_vm": "measure.machines",
    "claim": "claims",
    "ledger": "claims",
    "check": "checks",
    "exercises": "checks",
    "quiz": "quizzes",
    "playground": "widgets",
    "explore_layers": "widgets",
    "explore_entrypoint": "widgets",
    "explore_ports": "widgets",
    "watch": "widgets",
    "cleanup": "cleaning",
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
