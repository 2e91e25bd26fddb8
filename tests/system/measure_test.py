"""The measuring itself: a figure is only worth something if the measure is right."""

import sys

import numpy as np

from measure import MIB, measure

TOUCH = "b = bytearray(200 * 2**20)\nfor i in range(0, len(b), 4096): b[i] = 1"


def test_a_large_parent_does_not_count():
    ballast = np.ones(400 * MIB, np.uint8)
    assert measure("/bin/true").peak < 24 * MIB
    assert ballast.all()


def test_what_the_child_holds_counts():
    result = measure(sys.executable, "-I", "-S", "-c", TOUCH)
    assert result.returncode == 0
    assert 200 * MIB < result.peak < 240 * MIB
    assert result.wall > 0 and result.cpu > 0


def test_the_limit_holds():
    assert measure(sys.executable, "-I", "-S", "-c", TOUCH, data_limit=300 * MIB).returncode == 0
    result = measure(sys.executable, "-I", "-S", "-c", TOUCH, data_limit=100 * MIB)
    assert result.returncode == 1
    assert "MemoryError" in result.stderr
