"""Files that end too soon, at every byte of their header: always a clear error, never a crash and never an output."""

import subprocess

import pytest

import bigfiles
import weights

ARRAY = weights.random_floats(8, 32)


def write_safetensors(path):
    tensors = {"blocks.0.weight": ARRAY, "blocks.0.bias": weights.random_floats(32)}
    weights.write_safetensors(path, tensors, metadata={"who": "me"})
    content = path.read_bytes()
    return 8 + int.from_bytes(content[:8], "little")


def write_gguf(path):
    pairs = [
        ("general.architecture", "string", "tiny"),
        ("tokens", "array", ("string", ["a", "bc", ""])),
        ("numbers", "array", ("array", [("i16", [1, 2]), ("i16", [])])),
        ("flag", "bool", True),
        ("rate", "f64", 0.5),
    ]
    weights.write_gguf(path, pairs, {"blocks.0.weight": ARRAY, "blocks.0.bias": weights.random_floats(32)})
    return len(path.read_bytes()) - ARRAY.nbytes - 128


@pytest.mark.parametrize("suffix, write", [("safetensors", write_safetensors), ("gguf", write_gguf)])
def test_cut_off_anywhere(binary, tmp_path, suffix, write):
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    folder = tmp_path / "out"
    folder.mkdir()
    header = write(whole)
    content = whole.read_bytes()

    def run(command, *arguments):
        return subprocess.run([binary, command, *arguments], capture_output=True, text=True, timeout=20)

    assert run("inspect", whole).returncode == 0
    assert 200 < header < 600
    lengths = [*range(header + 3), header + 700, len(content) - 130, *range(len(content) - 3, len(content))]
    for length in lengths:
        cut.write_bytes(content[:length])
        runs = [("convert", cut, "-o", folder / "out.gguf")]
        if length % 8 == 0:  # both open it alike; this is to be sure
            runs.append(("inspect", cut))
        for command, *arguments in runs:
            result = run(command, *arguments)
            assert result.returncode == 1, f"{command} of {length} bytes: {result}"
            assert result.stderr.startswith(f"headrace: error: {cut}: "), f"{command} of {length} bytes: {result}"
            assert result.stderr.count("\n") == 1
        assert bigfiles.listing(folder) == []
