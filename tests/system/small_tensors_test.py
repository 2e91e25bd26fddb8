"""Tensors so small that many share a read and a write, in every order: each must come out with its own bytes."""

import gguf
import numpy as np
import pytest

import weights

TYPES = [np.float64, np.float32, np.float16, np.int8, np.int16, np.int32, np.int64]
SHAPES = [(), (1,), (2, 3), (10,), (0, 4), (5, 7), (3, 32), (64,), (2, 2, 2, 2)]


def random_tensors(seed):
    rng = np.random.default_rng(seed)
    tensors = {}
    for i in range(rng.integers(2, 40)):
        dtype, shape = TYPES[rng.integers(len(TYPES))], SHAPES[rng.integers(len(SHAPES))]
        tensors[f"tensor.{i}"] = rng.integers(1, 100, shape).astype(dtype)  # whole numbers: every type holds them
    return tensors


def write_gguf(path, tensors):
    writer = gguf.GGUFWriter(path, "tiny")
    for name, array in tensors.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def described(tensors):
    return {name: (weights.NAMES[array.dtype], array.shape, array.tobytes()) for name, array in tensors.items()}


def read(path):
    if path.suffix == ".safetensors":
        return weights.read_safetensors(path)
    return described({tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors})


def test_between_wider_and_narrower_neighbours(headrace, tmp_path):
    # safetensors has the widest first, so the I32 ends up between two that stood side by side in the source.
    tensors = {
        "middle": np.arange(1, 11, dtype=np.int32),
        "first": np.array([1.5, 2.5]),
        "last": np.array([1, 2, 3, 4], np.float16),
    }
    source = write_gguf(tmp_path / "in.gguf", tensors)
    assert headrace("convert", source, "-o", "out.safetensors", "-t", "1").returncode == 0
    assert read(tmp_path / "out.safetensors") == described(tensors)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("threads", [1, 2])
def test_any_order(headrace, tmp_path, seed, threads):
    tensors = random_tensors(seed)
    retyped = {name: a.astype(np.float16) if a.dtype.kind == "f" else a for name, a in tensors.items()}
    write_gguf(tmp_path / "in.gguf", tensors)
    weights.write_safetensors(tmp_path / "in.safetensors", tensors)
    for source in ["in.gguf", "in.safetensors"]:
        for output in ["out.gguf", "out.safetensors"]:
            for options, expected in [([], tensors), (["--type", "f16"], retyped)]:
                result = headrace("convert", source, "-o", output, "-t", threads, "--force", *options)
                assert result.returncode == 0, result.stderr
                kept = source[-4:] == output[-4:] or output == "out.safetensors"
                expected = expected if kept else {name: np.atleast_1d(a) for name, a in expected.items()}
                assert read(tmp_path / output) == described(expected), f"{source} to {output} {options}"
