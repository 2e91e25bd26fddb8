"""The keywords of convert(): what is refused, and how it is said; names of types."""

import subprocess
import sys

import headrace
import numpy as np
import pytest
from converting import small_model


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "long.txt").write_bytes(b"#" * (1 << 20) + b"\n")
    return small_model(tmp_path)


@pytest.mark.parametrize(
    "keywords, words",
    [
        ({"type": "q9_0"}, ["type: unknown type 'q9_0'", "did you mean", "expected one of", "q8_0"]),
        ({"type": "q8_K"}, ["type: this build can't make Q8_K"]),
        ({"type": "Q4_K_M"}, ["type: Q4_K_M is a recipe", "recipe"]),
        ({"recipe": "Q4_K_X"}, ["recipe: unknown recipe 'Q4_K_X'", "did you mean", "Q4_K_M", "MXFP4_MOE"]),
        ({"recipe": "Q4_K_M", "type": "q4_0"}, ["recipe"]),
        ({"pure": True}, ["pure", "none is given", "rules="]),
        ({"output_tensor_type": "q4"}, ["output_tensor_type: unknown type 'q4'"]),
        ({"to": "torch"}, ["to: found 'torch'", "'gguf' or 'safetensors'"]),
        ({"rules": "weight"}, ["rule 'weight'", "has no action"]),
        ({"rules": ["nothing_has_this=f16"]}, ["matches no tensor"]),
        ({"rules": 3}, ["rules: found int 3", "expected a str"]),
        ({"rules_file": "long.txt"}, ["long.txt", "too long"]),
        ({"tensor_type_rules": "weight=q9_0"}, ["unknown type 'q9_0'", "did you mean"]),
        ({"tensor_type_rules": "weight=f16,,"}, ["'' is no rule", "REGEX=TYPE"]),
        ({"profile": "sdcp"}, ["'sdcp' is neither a profile nor a file"]),
        ({"profile": "sdcpp", "for_": "comfyui"}, ["one option", "'comfyui' and 'sdcpp'"]),
        ({"select": "("}, ["bad pattern"]),
        ({"rename": "x"}, ["rename", "'x' isn't understood"]),
        ({"split": {"a": "b"}}, ["split", "'a=b' isn't understood"]),
        ({"concat": {"a": ["b"]}}, ["concat", "isn't understood"]),
        ({"prefer": "both"}, ["prefer: found 'both'", "'first' or 'last'"]),
        ({"prune_layers": "1,x"}, ["prune_layers: found str '1,x'"]),
        ({"prune_layers": -1}, ["prune_layers: found -1", "from 0 to"]),
        ({"override_kv": {"n": -3}}, ["override_kv: n: found -3"]),
        ({"override_kv": {"n": 2**32}}, ["override_kv: n: found 4294967296"]),
        ({"override_kv": {"n": None}}, ["override_kv: n: found NoneType"]),
        ({"override_kv": {"x": float("inf")}}, ["metadata 'x'", "'inf' is no such value"]),
        ({"override_kv": "n=3"}, ["'n=3' sets no metadata"]),
        ({"imatrix": ["ones", "file"]}, ["imatrix: 'ones' stands alone"]),
        ({"imatrix": [""]}, ["imatrix: found ''"]),
        ({"include_weights": "a", "exclude_weights": "b"}, ["two ways to say one thing"]),
        ({"include_weights": "a"}, ["importance matrix"]),
        ({"nonfinite": "drop"}, ["nonfinite: found 'drop'"]),
        ({"shard_size": 0}, ["shard_size: found 0"]),
        ({"shard_size": "5 apples"}, ["shard_size: found '5 apples'", "'5GB'"]),
        ({"memory": "much"}, ["memory: found 'much'", "'512MiB'"]),
        ({"memory": 1.5}, ["memory: found float 1.5", "whole number"]),
        ({"memory": -1}, ["memory: found -1"]),
        ({"threads": 2000}, ["threads: found 2000", "0 to 1024"]),
        ({"threads": True}, ["threads: found bool True"]),
        ({"connections": 65}, ["connections: found 65", "1 to 64"]),
        ({"force": "yes"}, ["force: found str 'yes'", "True or False"]),
        ({"component": "nothing"}, ["there is no component 'nothing'"]),
        ({"headers": "no colon"}, ["header"]),
        ({"architecture": 5}, ["architecture: found int 5"]),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_makes_no_sense_is_refused(model, keywords, words):
    with pytest.raises(headrace.InvalidArgumentError) as caught:
        headrace.convert(model if "headers" not in keywords else "http://127.0.0.1:1/m.gguf", "out.gguf", **keywords)
    assert caught.value.code == "invalid_argument" and isinstance(caught.value, ValueError)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "source, output, words",
    [
        ([], "out.gguf", ["no input was given"]),
        ({}, "out.gguf", ["no input was given"]),
        (3, "out.gguf", ["source: found int", "a path"]),
        ("", "out.gguf", ["source: found an empty text"]),
        ("model.safetensors", None, ["no output was given"]),
        ("model.safetensors", "", ["output: found an empty text"]),
        ("model.safetensors", "out.bin", ["format isn't known", ".gguf or .safetensors"]),
        ({"clip_1": "a"}, "out.gguf", ["unknown component 'clip_1'", "did you mean clip_l", "headrace.Input"]),
        ({"clip-l": "a", "clip_l": "b"}, "out.gguf", ["'clip_l' is given twice"]),
        ({1: "a"}, "out.gguf", ["a component called 1"]),
        ({"vae": 7}, "out.gguf", ["vae: found int"]),
    ],
)
def test_sources_and_outputs_that_are_none(model, source, output, words):
    for function in (headrace.convert, headrace.plan):
        with pytest.raises(headrace.InvalidArgumentError) as caught:
            function(source, output)
        for word in words:
            assert word in str(caught.value)


def test_an_unreadable_file_of_rules(model):
    with pytest.raises(headrace.IoError) as caught:
        headrace.convert(model, "out.gguf", rules_file="nothing.txt")
    assert caught.value.file == "nothing.txt" and "can't read the rules" in caught.value.problem


def test_an_unknown_keyword(model):
    with pytest.raises(TypeError, match="outtype"):
        headrace.convert(model, "out.gguf", outtype="f16")


def test_nothing_is_left_of_what_was_refused(model, tmp_path):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(headrace.Error):
        headrace.convert(model, "out.gguf", type="q9_0")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "given, name",
    [
        ("bf16", "BF16"), ("Q4_K", "Q4_K"), ("q4_k", "Q4_K"), ("torch.bfloat16", "BF16"), ("float32", "F32"),
        (np.float16, "F16"), (np.dtype("float64"), "F64"), (np.dtype(">i4"), "I32"), (np.bool_, "BOOL"),
        (np.dtype("uint8"), "U8"), (np.complex64, "C64"),
    ],
)  # fmt: skip
def test_names_of_types(given, name):
    assert headrace.dtype_name(given) == name


def test_types_of_torch_and_ml_dtypes():
    torch, ml_dtypes = pytest.importorskip("torch"), pytest.importorskip("ml_dtypes")
    for word, name in [("bfloat16", "BF16"), ("float8_e4m3fn", "F8_E4M3"), ("float8_e5m2", "F8_E5M2"),
                       ("float8_e4m3fnuz", "F8_E4M3FNUZ"), ("float8_e5m2fnuz", "F8_E5M2FNUZ"),
                       ("float8_e8m0fnu", "F8_E8M0")]:  # fmt: skip
        assert headrace.dtype_name(getattr(torch, word)) == name
        assert headrace.dtype_name(getattr(ml_dtypes, word)) == name
        assert headrace.dtype_name(np.dtype(getattr(ml_dtypes, word))) == name
    assert headrace.dtype_name(torch.bool) == "BOOL" and headrace.dtype_name(torch.int64) == "I64"


def test_what_is_no_type():
    with pytest.raises(headrace.InvalidArgumentError, match="unknown type 'bfloat17'"):
        headrace.dtype_name("bfloat17")
    for wrong in (3, None, float, object()):
        with pytest.raises(headrace.InvalidArgumentError, match="unknown type"):
            headrace.dtype_name(wrong)


def test_importing_brings_nothing_heavy():
    program = "import sys, headrace; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    for module in ("numpy", "torch", "ml_dtypes", "dataclasses", "inspect", "concurrent.futures"):
        assert module not in loaded, module
