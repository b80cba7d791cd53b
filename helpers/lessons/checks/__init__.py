"""
Exercises: what the engine shows of the learner's work.

Public are ``check`` and ``exercises`` for notebooks, ``EXERCISES`` and the decorator ``exercise``. There is one module
a notebook, of the same name, with one small function an exercise; ``observing`` has what several of them look at.
"""

# Each registers its exercises, in the order of the notebooks.
from helpers.lessons.checks import (  # noqa: F401
    n01_containers_and_vms,
    n02_inside_a_container,
    n03_docker_architecture,
    n04_first_practical,
    n05_django_app,
    n06_second_practical,
    n07_multi_stage,
    n08_distroless,
    n09_third_practical,
)
from helpers.lessons.checks.checking import EXERCISES, check, exercise, exercises

__all__ = ["EXERCISES", "check", "exercise", "exercises"]
