"""Runs `headrace` on URLs: against nginx, and against a server that does what nginx never would.

HEADRACE  the headrace binary to test
"""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import bigfiles  # noqa: E402  (found through the lines above)
import weights  # noqa: E402
from bad_server import BadServer  # noqa: E402
from nginx import Nginx  # noqa: E402

# What the test's own environment says about servers and tokens is none of the tests' business.
FOREIGN = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "hf_", "xdg_", "curl_", "ssl_")


def pytest_configure(config):
    binary = os.environ.get("HEADRACE")
    if not binary:
        raise pytest.UsageError("set HEADRACE to the path of the headrace binary to test")
    if not os.access(binary, os.X_OK):
        raise pytest.UsageError(f"HEADRACE={binary} can't be executed")


@pytest.fixture(scope="session")
def binary():
    path = os.path.abspath(os.environ["HEADRACE"])
    says = subprocess.run([path, "inspect", "https://"], capture_output=True, text=True).stderr
    if "HEADRACE_CURL" in says:
        pytest.skip("this build reads no URLs")
    return path


@pytest.fixture(scope="session")
def sanitized():
    return os.environ.get("HEADRACE_SANITIZER", "")


@pytest.fixture
def environment(tmp_path):
    """The variables that the command gets: none about servers, and an empty home."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().startswith(FOREIGN)}
    home = tmp_path / "home"
    home.mkdir()
    return kept | {"HOME": str(home)}


@pytest.fixture
def headrace(binary, tmp_path, environment):
    """Runs the command in the test's folder; `variables` are added to its environment, other keywords go to run()."""

    def run(*arguments, variables=None, **options):
        defaults = {"capture_output": True, "text": True, "timeout": 120, "cwd": tmp_path}
        environ = environment | (variables or {})
        return subprocess.run([binary, *map(str, arguments)], **(defaults | {"env": environ} | options))

    return run


@pytest.fixture
def fetched(headrace, tmp_path):
    """Converts a URL and a local file with the same options, and checks that the results are the same bytes."""

    def check(url, local, *options, suffix=".safetensors", **extra):
        from_url, from_file = tmp_path / f"from_url{suffix}", tmp_path / f"from_file{suffix}"
        kinds = ["--type", "q8_0"] if suffix == ".gguf" else []
        result = headrace("convert", url, "-o", from_url, *kinds, *options, **extra)
        assert result.returncode == 0, result.stderr
        reference = headrace("convert", local, "-o", from_file, *kinds)
        assert reference.returncode == 0, reference.stderr
        assert bigfiles.sha256(from_url) == bigfiles.sha256(from_file)
        from_url.unlink()
        from_file.unlink()
        return result

    return check


@pytest.fixture
def refused(headrace, tmp_path):
    """Converts a URL, which must fail; what the command says then. Nothing may be left."""

    def check(url, *options, code=1, **extra):
        folder = tmp_path / "refused"
        folder.mkdir()
        result = headrace("convert", url, "-o", folder / "out.safetensors", *options, **extra)
        assert result.returncode == code, result.stderr
        assert bigfiles.listing(folder) == []
        folder.rmdir()
        return result.stderr

    return check


@pytest.fixture(scope="session")
def content(tmp_path_factory):
    """A checkpoint of 5 MB: a large tensor, some small ones."""
    shapes = {"big.weight": (1024, 2048)} | {f"blocks.{i}.weight": (8, 512) for i in range(100)}
    return bigfiles.write_halves(tmp_path_factory.mktemp("content") / "model.safetensors", shapes)


@pytest.fixture
def server(content):
    """A BadServer with the content, which serves it well until told otherwise."""
    with BadServer(content.read_bytes()) as server:
        yield server


@pytest.fixture(scope="session")
def nginx_binary():
    path = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if not path:
        pytest.skip("nginx is not installed")
    return path


@pytest.fixture(scope="session")
def nginx(nginx_binary, content, tmp_path_factory):
    """nginx with a folder of files: plain, without ranges, with TLS, with a password."""
    with Nginx(nginx_binary, tmp_path_factory.mktemp("nginx")) as server:
        shutil.copy(content, server.files / "model.safetensors")
        (server.files / "empty.safetensors").touch()
        yield server


__all__ = ["weights"]
