"""For the tests of the Python module: the one in the folder that HEADRACE_PYTHON names, else the one installed."""

import importlib.util
import os
import sys

import pytest

if os.environ.get("HEADRACE_PYTHON"):
    sys.path.insert(0, os.environ["HEADRACE_PYTHON"])
    # Processes that a test starts shall find the same one.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (sys.path[0], os.environ.get("PYTHONPATH"))))

collect_ignore_glob = []
if importlib.util.find_spec("headrace") is None:
    collect_ignore_glob.append("*_test.py")


def pytest_report_header(config):
    if collect_ignore_glob:
        return "tests/python: left out, there is no module headrace (a sanitizer's build has none)"
    return None


@pytest.fixture
def rng():
    import numpy

    return numpy.random.default_rng(1)
