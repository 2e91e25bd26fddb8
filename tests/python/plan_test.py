"""headrace.plan and measure: the plan as a Python object."""

import json

import headrace
import pytest
from converting import command, small_model, weights


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return small_model(tmp_path)


def test_a_plan_is_a_sequence_by_number_and_name(model):
    plan = headrace.plan(model, "out.gguf", type="q8_0")
    names = ["blocks.0.weight", "blocks.1.weight", "odd.weight", "norm.bias", "positions"]
    assert [t.name for t in plan] == [t.name for t in plan.tensors] == names and len(plan) == 5
    assert plan[0].name == plan[-5].name == plan["blocks.0.weight"].name == names[0]
    assert [t.name for t in plan[1:3]] == names[1:3] and [t.name for t in plan[::-2]] == names[::-2]
    assert "norm.bias" in plan and "nothing" not in plan
    for missing, error in (("nothing", KeyError), (5, IndexError), (-6, IndexError)):
        with pytest.raises(error):
            plan[missing]


def test_what_a_planned_tensor_says(model):
    plan = headrace.plan({"vae": str(model)}, "out.gguf", type="q8_0", rules={"norm": "f16"})
    tensor = plan["vae.blocks.0.weight"]
    assert (tensor.source_name, tensor.input, tensor.sources) == ("blocks.0.weight", 0, 1)
    assert (tensor.shape, tensor.source_shape, tensor.from_, tensor.to) == ((8, 256), (8, 256), "F32", "Q8_0")
    assert (tensor.why, tensor.asked, tensor.rule, tensor.by_profile) == ("requested", "Q8_0", None, False)
    assert (tensor.importance, tensor.is_part, tensor.scaled) == ("none", False, False)
    assert (tensor.source_bytes, tensor.bytes, tensor.file) == (8192, 2176, 0) and tensor.offset % 32 == 0
    assert "Q8_0" in repr(tensor) and "[8, 256]" in repr(tensor)
    assert plan["vae.odd.weight"].why == "row_fallback" and "20" in plan["vae.odd.weight"].explain
    assert (plan["vae.norm.bias"].why, plan["vae.norm.bias"].rule) == ("rule", "norm=F16")
    assert plan["vae.positions"].why == "not_float" and plan["vae.positions"].asked == "Q8_0"
    assert [t.name for t in plan.made_of("odd.weight")] == ["vae.odd.weight"]
    assert (plan.inputs[0].location, plan.inputs[0].prefix) == (str(model), "vae.")
    assert repr(plan.inputs[0]) == f"headrace.Input({str(model)!r}, prefix='vae.')"


def test_what_a_plan_says(model):
    plan = headrace.plan(model, "out.gguf", type="q4_K", drop="^odd")
    assert (plan.output, plan.output_files, plan.output_index, plan.to) == ("out.gguf", ("out.gguf",), None, "gguf")
    assert plan.source_bytes == 8192 * 2 + 1024 + 40
    assert plan.output_bytes > plan.header_bytes > 0 and plan.unmeasured == 0
    assert plan.metadata["general.name"] == "tiny" and isinstance(plan.metadata["general.quantization_version"], int)
    (dropped,) = plan.dropped
    assert (dropped.name, dropped.source_name, dropped.input) == ("odd.weight", "odd.weight", 0)
    assert dropped.why == "--drop '^odd'" and "odd.weight" in repr(dropped) and dropped.to_dict()["why"] == dropped.why
    assert all(isinstance(note, str) for note in plan.notes)
    assert repr(plan).startswith("<headrace.Plan: 4 tensors, 17.4 kB -> ") and "out.gguf" in repr(plan)


@pytest.mark.parametrize("keywords, words", [
    ({"type": "q8_0", "drop": "^odd"}, ["--type", "q8_0", "--drop", "^odd"]),
    ({"rules": "blocks=rmse:0.01", "imatrix": "ones"}, ["--rule", "blocks=rmse:0.01", "--imatrix", "ones"]),
    ({"shard_size": "9KB", "for_": "sdcpp", "type": "q4_0"},
     ["--shard-size", "9KB", "--for", "sdcpp", "--type", "q4_0"]),
])  # fmt: skip
def test_as_the_command_prints_it(model, keywords, words):
    theirs = json.loads(command("convert", "model.safetensors", "-o", "m.gguf", "--dry-run", "--json", *words))
    plan = headrace.plan("model.safetensors", "m.gguf", **keywords)
    assert json.loads(json.dumps(plan.to_dict())) == theirs
    assert [t.to_dict() for t in plan] == theirs["tensors"]


def test_a_tensor_outlives_its_plan(model):
    tensor = headrace.plan(model, "out.gguf")["norm.bias"]
    assert tensor.name == "norm.bias" and tensor.shape == (256,)


def test_measuring(model):
    plan = headrace.plan(model, "out.gguf", rules="blocks=rmse:0.02")
    assert plan.unmeasured == 2 and plan[0].why == "unmeasured" and "2 wait" in repr(plan)
    seen = []
    measured = headrace.measure(plan, progress=seen.append)
    assert measured.unmeasured == 0 and measured[0].why == "measured" and measured.output_bytes < plan.output_bytes
    assert seen[-1].bytes_done == seen[-1].bytes_total > 0
    assert plan.unmeasured == 2  # plans don't change
    assert [t.to for t in headrace.convert(plan).plan] == [t.to for t in measured]


def test_a_plan_says_all_the_options(model):
    plan = headrace.plan(model, "out.gguf")
    for keywords in ({"output": "other.gguf"}, {"type": "q8_0"}, {"force": True}, {"memory": "1G"}):
        with pytest.raises(headrace.InvalidArgumentError, match=f"found {next(iter(keywords))}"):
            headrace.convert(plan, **keywords)
    assert headrace.convert(plan).bytes_written == plan.output_bytes


def test_metadata_of_every_kind(tmp_path):
    pairs = [
        ("general.architecture", "string", "llama"), ("a.u8", "u8", 200), ("a.i8", "i8", -3), ("a.u16", "u16", 60000),
        ("a.i16", "i16", -300), ("a.u32", "u32", 2**32 - 1), ("a.i32", "i32", -5), ("a.f32", "f32", 0.5),
        ("a.bool", "bool", True), ("a.u64", "u64", 2**64 - 1), ("a.i64", "i64", -(2**40)), ("a.f64", "f64", 0.1),
        ("a.texts", "array", ("string", ["x", "ü"])), ("a.numbers", "array", ("i32", [1, -2])),
        ("a.nested", "array", ("array", [("f32", [0.5]), ("bool", [True, False])])), ("a.none", "array", ("u8", [])),
    ]  # fmt: skip
    path = weights.write_gguf(tmp_path / "m.gguf", pairs, {"w": weights.random_floats(2, 32)})
    metadata = headrace.plan(path, tmp_path / "out.gguf").metadata
    expected = {key: value for key, kind, value in pairs if kind != "array"} | {
        "a.texts": ["x", "ü"], "a.numbers": [1, -2], "a.nested": [[0.5], [True, False]], "a.none": []
    }  # fmt: skip
    assert {key: metadata[key] for key in expected} == expected
    assert all(type(metadata[key]) is type(value) for key, value in expected.items())
