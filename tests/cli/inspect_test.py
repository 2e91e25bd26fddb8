"""headrace inspect: the summary, the lists, JSON."""

import json

import pytest
import weights

PAIRS = [
    ("general.architecture", "string", "llama"),
    ("general.name", "string", "Tiny \x1b[1m model"),
    ("a.u8", "u8", 200),
    ("a.i8", "i8", -5),
    ("a.u16", "u16", 60000),
    ("a.i16", "i16", -30000),
    ("a.u32", "u32", 4_000_000_000),
    ("a.i32", "i32", -7),
    ("a.f32", "f32", 0.1),
    ("a.nan", "f32", float("nan")),
    ("a.bool", "bool", True),
    ("a.u64", "u64", 2**64 - 1),
    ("a.i64", "i64", -(2**63)),
    ("a.f64", "f64", 1e300),
    ("a.words", "array", ("string", ["one", 'quo"te', "", "größe"])),
    ("a.numbers", "array", ("i32", list(range(1000)))),
    ("a.nested", "array", ("array", [("u8", [1, 2]), ("string", ["x"])])),
    ("a.long", "string", "word " * 2000),
]


@pytest.fixture
def gguf(tmp_path):
    tensors = {"blocks.0.weight": weights.random_floats(4, 64), "scalars": weights.random_floats(3)}
    return weights.write_gguf(tmp_path / "model.gguf", PAIRS, tensors)


def test_summary(headrace, gguf):
    result = headrace("inspect", gguf)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == str(gguf)
    assert "format      gguf version 3" in lines
    assert f"metadata    {len(PAIRS)} pairs" in lines
    assert "tensors     2" in lines
    assert "parameters  259" in lines
    assert f"({gguf.stat().st_size:,} bytes)" in result.stdout
    assert any("general.architecture" in line and "llama" in line for line in lines)
    assert lines[-1].split()[:4] == ["F32", "2", "259", str(259 * 4)]
    assert "blocks.0.weight" not in result.stdout
    assert "\x1b" not in result.stdout


def test_tensors(headrace, gguf):
    result = headrace("inspect", gguf, "--tensors")
    table = result.stdout.split("\n\n")[-1].splitlines()
    assert table[0].split() == ["tensor", "dtype", "shape", "bytes", "offset"]
    data = json.loads(headrace("inspect", gguf, "--json").stdout)["data_offset"]
    assert table[1].split() == ["blocks.0.weight", "F32", "[4,", "64]", "1024", str(data)]
    assert table[2].split() == ["scalars", "F32", "[3]", "12", str(data + 1024)]


def test_metadata(headrace, gguf):
    result = headrace("inspect", gguf, "--metadata", encoding="utf-8")
    table = {line.split()[0]: line for line in result.stdout.split("\n\n")[-1].splitlines()}
    assert set(table) == {"key"} | {key for key, _, _ in PAIRS}
    assert "4000000000" in table["a.u32"] and "u32" in table["a.u32"]
    assert "array of i32" in table["a.numbers"]
    assert "999" not in table["a.numbers"]
    assert len(table["a.long"]) < 250 and "…" in table["a.long"]
    assert "\x1b" not in result.stdout and "\\u001b[1m" in table["general.name"]


def test_json_has_everything(headrace, gguf):
    result = headrace("inspect", gguf, "--json", encoding="utf-8")
    document = json.loads(result.stdout, parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert document["format"] == "gguf"
    assert document["format_version"] == 3
    assert document["file_bytes"] == gguf.stat().st_size
    assert document["tensor_count"] == 2
    assert document["parameters"] == 259
    assert document["types"] == [{"dtype": "F32", "tensors": 2, "parameters": 259, "bytes": 1036}]
    assert [t["name"] for t in document["tensors"]] == ["blocks.0.weight", "scalars"]
    assert document["tensors"][0]["shape"] == [4, 64]

    pairs = {pair["key"]: pair for pair in document["metadata"]}
    assert [pair["key"] for pair in document["metadata"]] == [key for key, _, _ in PAIRS]
    for key, kind, value in PAIRS:
        assert pairs[key]["type"] == kind.replace("bool", pairs["a.bool"]["type"])
        if key == "a.nan":
            assert pairs[key]["value"] is None
        elif key == "a.nested":
            assert pairs[key]["value"] == [[1, 2], ["x"]]
        elif kind == "array":
            assert pairs[key]["element_type"] == value[0]
            assert pairs[key]["count"] == len(value[1])
            assert pairs[key]["value"] == value[1]
        else:
            assert pairs[key]["value"] == value


@pytest.mark.parametrize("flag, other", [("--tensors", "metadata"), ("--metadata", "tensors")])
def test_json_of_a_part(headrace, gguf, flag, other):
    document = json.loads(headrace("inspect", gguf, "--json", flag).stdout)
    assert flag.removeprefix("--") in document
    assert other not in document
    assert document["tensor_count"] == 2


def test_safetensors(headrace, model):
    document = json.loads(headrace("inspect", model, "--json").stdout)
    assert document["format"] == "safetensors"
    assert {pair["key"]: pair["value"] for pair in document["metadata"]} == {"general.name": "tiny", "author": "nobody"}
    expected = weights.read_safetensors(model)
    assert {t["name"]: (t["dtype"], tuple(t["shape"]), t["bytes"]) for t in document["tensors"]} == {
        name: (dtype, shape, len(data)) for name, (dtype, shape, data) in expected.items()
    }
    content = model.read_bytes()
    for tensor in document["tensors"]:
        at = tensor["offset"]
        assert content[at : at + tensor["bytes"]] == expected[tensor["name"]][2]


def test_an_empty_checkpoint(headrace, tmp_path):
    path = weights.write_safetensors(tmp_path / "empty.safetensors", {})
    result = headrace("inspect", path, "--tensors", "--metadata")
    assert result.returncode == 0
    assert "tensors     0" in result.stdout
    assert json.loads(headrace("inspect", path, "--json").stdout)["tensors"] == []


def test_model_option_and_memory(headrace, model):
    assert headrace("inspect", "-m", model, "--memory", "64MiB").stdout == headrace("inspect", model).stdout


def test_broken_files(headrace, tmp_path):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF\x03\0\0\0" + b"\xff" * 40)
    result = headrace("inspect", path, "--json")
    assert result.returncode == 1
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "format"
    assert error["file"] == str(path)
    assert isinstance(error["offset"], int)
