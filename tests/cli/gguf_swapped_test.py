"""GGUF files in the other byte order, written by the gguf package or turned by its script, read as the same files."""

import json
import subprocess
import sys

import gguf
import numpy as np
import pytest

import weights

# What the package's script can turn round.
SCRIPT_TYPES = ["f16", "bf16", "f32", "q4_0", "q8_0", "q4_K", "q6_K", "mxfp4", "nvfp4"]


def write_with_package(path, order):
    writer = gguf.GGUFWriter(path, "llama", endianess=order)
    writer.add_name("größe")
    writer.add_uint8("a.u8", 200)
    writer.add_int8("a.i8", -5)
    writer.add_uint16("a.u16", 60000)
    writer.add_int16("a.i16", -30000)
    writer.add_uint32("a.u32", 4_000_000_000)
    writer.add_int32("a.i32", -7)
    writer.add_uint64("a.u64", 2**63 + 5)
    writer.add_int64("a.i64", -(2**63))
    writer.add_float32("a.f32", 0.1)
    writer.add_float64("a.f64", 1e300)
    writer.add_bool("a.bool", True)
    writer.add_array("a.words", ["one", "", "größe"])
    writer.add_array("a.numbers", list(range(-500, 500)))
    writer.add_array("a.floats", [0.5, -1.25])
    random = np.random.default_rng(1)
    for dtype in (np.float16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64):
        name = np.dtype(dtype).name
        array = (random.standard_normal((3, 64)) * 100).astype(dtype)
        writer.add_tensor(f"{name}.matrix", array)
        writer.add_tensor(f"{name}.vector", array[0, :7].copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def both(tmp_path):
    """The same model in our byte order and in the other."""
    little = write_with_package(tmp_path / "little.gguf", gguf.GGUFEndian.LITTLE)
    big = write_with_package(tmp_path / "big.gguf", gguf.GGUFEndian.BIG)
    assert little.stat().st_size == big.stat().st_size and little.read_bytes() != big.read_bytes()
    return little, big


def turn(path, order):
    script = subprocess.run(
        [sys.executable, "-m", "gguf.scripts.gguf_convert_endian", path, order],
        input="YES\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert script.returncode == 0, script.stderr
    return path


def test_inspect_says_the_same(headrace, both):
    documents = []
    for path in both:
        result = headrace("inspect", path, "--json")
        assert result.returncode == 0, result.stderr
        document = json.loads(result.stdout)
        documents.append({key: value for key, value in document.items() if not key.startswith("file")})
    for little, big in zip(documents[0]["tensors"], documents[1]["tensors"]):
        assert little.pop("encoding") == "plain"
        assert big.pop("encoding") == ("plain" if big["dtype"] == "I8" else "byte_swapped")
    assert documents[0] == documents[1]
    assert documents[1]["format_version"] == 3
    assert len(documents[1]["metadata"]) == 16 and len(documents[1]["tensors"]) == 14


def test_verify_finds_them_alike(headrace, both):
    result = headrace("verify", *both)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("options", [[], ["--type", "q8_0"], ["--threads", "1", "--memory", "16MiB"]])
def test_converts_to_the_same_file(headrace, output, both, options):
    for path, name in zip(both, ("a.gguf", "b.gguf")):
        result = headrace("convert", path, "-o", output / name, *options)
        assert result.returncode == 0, result.stderr
    assert (output / "a.gguf").read_bytes() == (output / "b.gguf").read_bytes()


def test_the_package_reads_what_comes_of_it(headrace, output, both):
    assert headrace("convert", both[1], "-o", output / "out.gguf").returncode == 0
    expected, found = gguf.GGUFReader(both[0]), gguf.GGUFReader(output / "out.gguf")
    assert {name: field.contents() for name, field in found.fields.items() if not name.startswith("GGUF.")} == {
        name: field.contents() for name, field in expected.fields.items() if not name.startswith("GGUF.")
    }
    assert [tensor.name for tensor in found.tensors] == [tensor.name for tensor in expected.tensors]
    for a, b in zip(expected.tensors, found.tensors):
        assert a.tensor_type == b.tensor_type and a.data.tobytes() == b.data.tobytes(), a.name


@pytest.mark.parametrize("kind", SCRIPT_TYPES)
def test_there_and_back_with_the_packages_script(headrace, tmp_path, output, kind):
    """The script knows floats and some block types, so the model has those alone."""
    model = {"a.weight": weights.random_floats(8, 256, seed=1), "b.weight": weights.random_floats(4, 512, seed=2)}
    source = weights.write_safetensors(tmp_path / "model.safetensors", model | {"norm.bias": np.arange(9, dtype="f4")})
    original = output / "model.gguf"
    result = headrace("convert", source, "-o", original, "--type", kind)
    assert result.returncode == 0, result.stderr
    turned = output / "turned.gguf"
    turned.write_bytes(original.read_bytes())
    turn(turned, "big")
    assert turned.read_bytes()[4:8] == b"\0\0\0\3"
    result = headrace("convert", turned, "-o", output / "back.gguf")
    assert result.returncode == 0, result.stderr
    assert (output / "back.gguf").read_bytes() == original.read_bytes()
    assert headrace("verify", turned, original).returncode == 0


def test_cut_short_is_refused(headrace, output, both):
    content = both[1].read_bytes()
    path = output.parent / "cut.gguf"
    for size in (5, 9, 30, 200, 700, len(content) - 100):
        path.write_bytes(content[:size])
        result = headrace("convert", path, "-o", output / "out.gguf")
        assert result.returncode == 1 and result.stderr.startswith(f"headrace: error: {path}: "), result
    assert list(output.iterdir()) == []


def test_an_importance_matrix_must_be_turned_first(headrace, tmp_path):
    ones = weights.np.ones((1, 256), "<f4")
    matrix = weights.write_gguf(
        tmp_path / "i.gguf",
        [("general.type", "string", "imatrix")],
        {"w.in_sum2": ones, "w.counts": weights.np.ones((1, 1), "<f4")},
    )
    model = weights.write_safetensors(tmp_path / "m.safetensors", {"w": weights.random_floats(4, 256)})
    options = ["convert", model, "-o", tmp_path / "o.gguf", "--type", "q4_K", "--imatrix", matrix, "--force"]
    assert headrace(*options).returncode == 0
    turn(matrix, "big")
    (tmp_path / "o.gguf").unlink()
    result = headrace(*options)
    assert result.returncode == 1
    assert "the other byte order" in result.stderr
    assert not (tmp_path / "o.gguf").exists()
