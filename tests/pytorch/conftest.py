"""PyTorch's own files, given to the `headrace` command that the environment variable HEADRACE names.

Without PyTorch these tests skip; `pip install torch` (the CPU build will do) into the tests' environment runs them.
"""

import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))


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
def read(headrace, tmp_path):
    """{name: tensor} of a checkpoint, by way of safetensors and its own library."""

    def convert_and_load(path, *options):
        from safetensors.torch import load_file

        out = tmp_path / "read.safetensors"
        result = headrace("convert", path, "-o", out, "--force", *options)
        assert result.returncode == 0, result.stderr
        return load_file(out)

    return convert_and_load


@pytest.fixture
def refused(headrace, tmp_path):
    """The one line that the command says about a file which it refuses. Nothing may be left of the output."""

    def refuse(path, *options):
        out = tmp_path / "refused.safetensors"
        inspected = headrace("inspect", path, *options)
        result = headrace("convert", path, "-o", out, *options)
        for each in (inspected, result):
            # 2: something else has to be said on the command line
            assert each.returncode == (2 if "--torch-key" in each.stderr else 1), each
            assert each.stderr.startswith("headrace: error: ") and each.stderr.count("\n") == 1, each.stderr
        assert not out.exists()
        return result.stderr

    return refuse
