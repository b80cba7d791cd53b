"""A pytest plugin of tests/orders: another order of the files, and of the tests in each; cells keep theirs."""

import os
import random
from itertools import groupby


def pytest_collection_modifyitems(items):
    """Put the tests in the order that the variable TEST_ORDER names: ``reversed``, or the seed of a shuffled one."""
    order = os.environ["TEST_ORDER"]
    files = [list(tests) for _, tests in groupby(items, key=lambda item: item.path)]
    change = list.reverse if order == "reversed" else random.Random(int(order)).shuffle
    change(files)
    for tests in files:
        if tests[0].path.suffix != ".ipynb":
            change(tests)
    items[:] = [test for tests in files for test in tests]
