"""Runs the `headrace` command that the environment variable HEADRACE names."""

import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))

import weights  # noqa: E402  (found through the line above)


def pytest_configure(config):
    binary = os.environ.get("HEADRACE")
    if not binary:
        raise pytest.UsageError("set HEADRACE to the path of the headrace binary to test")
    if not os.access(binary, os.X_OK):
        raise pytest.UsageError(f"HEADRACE={binary} can't be executed")


@pytest.fixture(scope="session")
def binary():
    return os.path.abspath(os.environ["HEADRACE"])


@pytest.fixture
def headrace(binary, tmp_path):
    """Runs the command in the test's folder; keywords go to subprocess.run."""

    def run(*arguments, **options):
        defaults = {"capture_output": True, "text": True, "timeout": 120, "cwd": tmp_path}
        return subprocess.run([binary, *map(str, arguments)], **(defaults | options))

    return run


@pytest.fixture
def model(tmp_path):
    """A small checkpoint: two matrices, one that no block type fits, a vector, and numbers that are no floats."""
    return weights.write_safetensors(
        tmp_path / "model.safetensors",
        {
            "blocks.0.weight": weights.random_floats(8, 256, seed=1),
            "blocks.1.weight": weights.random_floats(4, 512, seed=2),
            "odd.weight": weights.random_floats(3, 20, seed=3),
            "norm.bias": weights.random_floats(256, seed=4),
            "positions": weights.np.arange(10, dtype="int32"),
        },
        metadata={"general.name": "tiny", "author": "nobody"},
    )


@pytest.fixture
def output(tmp_path):
    """An empty folder for outputs."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder
