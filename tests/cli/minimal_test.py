"""A build without libcurl and zlib: what it can't read it refuses by the option's name, and the rest works."""

import os
import subprocess
import zipfile

import numpy as np
import pytest
import weights

MINIMAL = os.environ.get("HEADRACE_MINIMAL")
pytestmark = pytest.mark.skipif(not MINIMAL, reason="HEADRACE_MINIMAL names no build without the optional parts")


@pytest.fixture
def minimal(tmp_path):
    """Runs that build's command in the test's folder."""

    def run(*arguments):
        command = [os.path.abspath(MINIMAL), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)

    return run


def assert_refused(result, *parts):
    assert result.returncode == 1, result
    assert result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr


@pytest.mark.parametrize("command", ["convert", "inspect"])
@pytest.mark.parametrize("location", ["https://example.org/m.safetensors", "http://127.0.0.1:9/m.gguf",
                                      "hf://owner/repo/m.safetensors@main"])  # fmt: skip
def test_no_urls(minimal, output, command, location):
    more = ["-o", output / "m.gguf"] if command == "convert" else []
    assert_refused(minimal(command, location, *more), location, "HEADRACE_CURL=ON")
    assert os.listdir(output) == []


@pytest.mark.parametrize("command", ["convert", "inspect"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_no_pytorch_archives(minimal, tmp_path, output, command, method):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("model/data.pkl", b"\x80\x02}.")  # an empty dict
        archive.writestr("model/version", b"3\n")
    more = ["-o", output / "m.gguf"] if command == "convert" else []
    assert_refused(minimal(command, path, *more), str(path), "HEADRACE_ZLIB=ON")
    assert os.listdir(output) == []


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_archives_of_arrays(minimal, tmp_path, output, save):
    save(tmp_path / "a.npz", x=np.arange(64, dtype=np.float32))
    assert_refused(minimal("convert", "a.npz", "-o", output / "m.gguf"), "a.npz", "HEADRACE_ZLIB=ON")
    assert os.listdir(output) == []


def test_the_rest_works(minimal, headrace, model, output):
    for file, options in {"m.gguf": ["--type", "q8_0"], "copy.safetensors": []}.items():
        result = minimal("convert", model, "-o", output / file, *options)
        assert result.returncode == 0, result.stderr
        whole = output / f"whole-{file}"
        assert headrace("convert", model, "-o", whole, *options).returncode == 0
        assert (output / file).read_bytes() == whole.read_bytes()
    result = minimal("convert", output / "m.gguf", "-o", output / "back.safetensors", "--type", "f32")
    assert result.returncode == 0, result.stderr
    assert minimal("verify", model, output / "back.safetensors", "--max-rmse", "0.01").returncode == 0


def test_arrays_alone_can_be_read(minimal, tmp_path, output):
    array = weights.random_floats(4, 8)
    np.save(tmp_path / "a.npy", array)
    result = minimal("convert", "a.npy", "-o", output / "a.safetensors")
    assert result.returncode == 0, result.stderr
    assert weights.read_safetensors(output / "a.safetensors") == {"a": ("F32", (4, 8), array.tobytes())}
