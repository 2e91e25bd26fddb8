"""headrace convert --rule and --rules: types, keep, drop and fallback, by name and by shape."""

import json
import os

import numpy as np
import pytest
import weights
from gguf_files import read_gguf

SHAPES = {
    "a.weight": (8, 256), "b.weight": (4, 512), "odd.weight": (3, 20), "half.weight": (3, 32), "norm": (256,),
    "ema.x": (2, 32), "scalar": (), "deep": (1, 2, 3, 4, 32),
}  # fmt: skip


@pytest.fixture
def source(tmp_path):
    tensors = {name: np.asarray(weights.random_floats(*shape, seed=len(name)), "f4") for name, shape in SHAPES.items()}
    return weights.write_safetensors(tmp_path / "m.safetensors", tensors | {"numbers": np.arange(10, dtype="i4")})


@pytest.fixture
def plan(headrace, source, output):
    def ask(*options, model=source, name="o.gguf"):
        result = headrace("convert", model, "-o", output / name, "--dry-run", "--json", *options)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return ask


@pytest.fixture
def changed(plan):
    """{tensor: type} of those that are no F32 any more."""

    def ask(*options, **more):
        tensors = plan(*options, **more)["tensors"]
        return {t["name"]: t["to"] for t in tensors if t["to"] != "F32" and t["name"] != "numbers"}

    return ask


@pytest.fixture
def refused(headrace, source, output):
    """Asserts that a conversion ends with that status, says these words and writes nothing."""

    def check(status, words, *options, model=source, name="o.gguf"):
        result = headrace("convert", model, "-o", output / name, *options)
        assert result.returncode == status, result
        for word in words:
            assert word in result.stderr
        assert list(output.iterdir()) == []

    return check


def rules(*texts):
    return [part for text in texts for part in ("--rule", text)]


@pytest.mark.parametrize(
    "texts, expected",
    [
        (["weight=fallback:q4_K,q5_0"], {"a": "Q4_K", "b": "Q4_K", "half": "Q5_0", "odd": "F16"}),
        (["weight=fallback: Q4_K , bf16 "], {"a": "Q4_K", "b": "Q4_K", "half": "BF16", "odd": "BF16"}),
        (
            ["weight=fallback:f16,q4_K", "norm=bf16"],
            {"a": "F16", "b": "F16", "half": "F16", "odd": "F16", "norm": "BF16"},
        ),
        (["norm=fallback:q4_K,f16"], {"norm": "Q4_K"}),
        (["^a=keep", "weight=q8_0"], {"b": "Q8_0", "half": "Q8_0", "odd": "F16"}),
        (["ndim<2=f16"], {"norm": "F16", "scalar": "F16"}),
        (["ndim==0=f16"], {"scalar": "F16"}),
        (["ndim=1=f16"], {"norm": "F16"}),
        (["ndim>=5=f16"], {"deep": "F16"}),
        (["ndim>4=q8_0"], {"deep": "Q8_0"}),
        (["elements<=60=f16"], {"odd": "F16", "scalar": "F16"}),
        (["row!=256 ndim>1=f16"], {"b": "F16", "half": "F16", "odd": "F16", "ema": "F16", "deep": "F16"}),
        (["rows>4=f16"], {"a": "F16", "deep": "F16"}),
        (["weight$ elements<1024 ndim==2=f16"], {"half": "F16", "odd": "F16"}),
        (["\t weight$   ndim<3  row>32\t=\tQ8_0 "], {"a": "Q8_0", "b": "Q8_0"}),
        (["weight ndim==2=drop", "ndim==2=f16"], {"ema": "F16"}),
    ],
)
def test_what_they_choose(changed, texts, expected):
    assert {name.split(".")[0]: kind for name, kind in changed(*rules(*texts)).items()} == expected


def test_rules_come_before_the_type(plan):
    found = plan("--type", "q8_0", *rules("norm=keep", "^a=f16", "ndim<1=f16", "^ema=drop"))
    types = {t["name"]: t["to"] for t in found["tensors"]}
    assert types == {
        "a.weight": "F16", "b.weight": "Q8_0", "odd.weight": "F16", "half.weight": "Q8_0", "norm": "F32",
        "scalar": "F16", "deep": "Q8_0", "numbers": "I32",
    }  # fmt: skip
    by = {t["name"]: (t["rule"], t["why"]) for t in found["tensors"]}
    assert by["norm"] == ("norm=keep", "rule 'norm=keep'")
    assert by["b.weight"] == (None, "--type Q8_0")


def test_keep_and_drop_of_what_is_no_float(plan):
    assert plan(*rules("numbers=keep"))["notes"] == plan()["notes"]
    found = plan(*rules("numbers=drop"))
    assert [t["name"] for t in found["dropped"]] == ["numbers"]
    for action in ("f16", "fallback:f16", "rmse:0.1"):
        assert any("decides nothing" in note for note in plan(*rules(f"numbers={action}"))["notes"])


def test_fallback_makes_what_the_type_alone_makes(headrace, source, output):
    """The bytes are those of the type that fits."""
    for name, rule in [("a", "weight=fallback:q4_K,q5_0"), ("b", "(a|b).weight=q4_K"), ("c", "half=q5_0")]:
        options = ["--rule", rule, "--select", "weight"]
        assert headrace("convert", source, "-o", output / f"{name}.gguf", *options).returncode == 0
    a, b, c = (read_gguf(output / f"{name}.gguf") for name in "abc")
    assert a["a.weight"] == b["a.weight"] and a["b.weight"] == b["b.weight"] and a["half.weight"] == c["half.weight"]


def test_the_report(headrace, plan, source, output):
    options = rules("^ema=drop", "weight ndim=2=fallback:q4_k,F16", "norm=keep")
    expected = ["^ema=drop", "weight ndim==2=fallback:Q4_K,F16", "norm=keep"]
    planned = plan(*options)
    assert planned["rules"] == expected
    assert planned["dropped"] == [{"name": "ema.x", "input": 0, "source_name": "ema.x", "why": "rule '^ema=drop'"}]
    report = json.loads(headrace("convert", source, "-o", output / "o.gguf", "--json", *options).stdout)
    assert report["rules"] == expected
    assert any(note.startswith("left out: tensor 'ema.x'") for note in report["notes"])


def test_a_rule_that_drops_what_another_has(plan):
    found = plan(*rules("weight=f16", "^a|^e=drop"))
    assert [t["name"] for t in found["dropped"]] == ["ema.x"]  # a.weight is the first rule's
    found = plan(*rules("^a=drop", "weight=drop"))
    assert [(t["name"], t["why"]) for t in found["dropped"]] == [
        ("a.weight", "rule '^a=drop'"),
        ("b.weight", "rule 'weight=drop'"),
        ("odd.weight", "rule 'weight=drop'"),
        ("half.weight", "rule 'weight=drop'"),
    ]
    notes = plan(*rules("weight=drop", "a.weight=f16"))["notes"]
    assert any("rule 'a.weight=F16' decides nothing" in note for note in notes)


def test_what_is_dropped_may_be_anything(headrace, tmp_path, output):
    """What the output can't hold is no hindrance, nor is a name that is there twice."""
    model = weights.write_safetensors(
        tmp_path / "m.safetensors", {"u": np.arange(4, dtype="u1"), "w": weights.random_floats(2, 32)}
    )
    result = headrace("convert", model, "-o", output / "o.gguf", "--rule", "^u$=drop")
    assert result.returncode == 0, result.stderr
    assert list(read_gguf(output / "o.gguf")) == ["w"]


@pytest.mark.parametrize("options", [[], ["--type", "f16"]])
def test_kept_but_no_place_for_it(refused, headrace, source, tmp_path, options):
    """The way out leads past the rule."""
    quantised = tmp_path / "q.gguf"
    assert headrace("convert", source, "-o", quantised, "--type", "q8_0").returncode == 0
    words = ["tensor 'a.weight'", "safetensors can't hold Q8_0 tensors", "--to gguf keeps it", "rule"]
    refused(1, words, "--rule", "^a=keep", *options, model=quantised, name="o.safetensors")


def test_no_place_for_what_is_asked(refused):
    refused(1, ["tensor 'a.weight'", "gguf can't hold F8_E4M3", "--to safetensors"], "--rule", "weight=f8_e4m3")
    refused(
        1,
        ["tensor 'a.weight'", "safetensors can't hold Q4_K"],
        "--rule",
        "weight=fallback:q4_K,f16",
        name="o.safetensors",
    )


@pytest.mark.parametrize(
    "rule, words",
    [
        ("", ["has no action", "PATTERN=ACTION"]),
        ("weight", ["rule 'weight': has no action"]),
        ("=f16", ["no pattern and no condition"]),
        ("  =f16", ["no pattern and no condition"]),
        ("weight=", ["says nothing to do", "keep, drop"]),
        ("weight=nothing", ["unknown type or action 'nothing'", "fallback:TYPE", "q4_K"]),
        ("weight=f16,f32", ["unknown type or action 'f16,f32'"]),
        ("weight=fallback:", ["names no type to fall back to"]),
        ("weight=fallback:q4_K,q9", ["unknown type 'q9'"]),
        ("weight=fallback:q4_K,,f16", ["unknown type ''"]),
        ("weight=rmse:", ["'' is no limit"]),
        ("weight=rmse:-0.1", ["'-0.1' is no limit"]),
        ("weight=rmse:inf", ["'inf' is no limit"]),
        ("weight=rmse:0.1,q9", ["unknown type 'q9'"]),
        ("weight=iq2_xxs", ["can't make IQ2_XXS"]),
        ("weight=fallback:i32,f16", ["can't make I32"]),
        ("weight=q8_K", ["can't make Q8_K"]),
        ("(=f16", ["rule '(=F16'", "bad pattern", "missing )"]),
        ("(?<!a)b=f16", ["bad pattern"]),
        ("none_such=drop", ["rule 'none_such=drop' matches no tensor"]),
        ("ndim>9=f16", ["rule 'ndim>9=F16' matches no tensor"]),
        ("weight row>9999=f16", ["matches no tensor"]),
        ("ndim < 2=f16", ["matches no tensor"]),  # three words of a pattern
        ("width<2=f16", ["matches no tensor"]),
        ("ndim<-1=f16", ["matches no tensor"]),
        ("ndim<2 weight=f16", ["matches no tensor"]),
    ],
)
def test_wrong_rules(refused, rule, words):
    refused(2, words, "--rule", rule)
    refused(2, words, "--rule", "norm=f16", "--tensor-type", rule)


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_file_of_rules(plan, tmp_path, end):
    lines = ["# types", "", "  # indented", " weight=q8_0 ", "\t^ema=drop", "norm=keep", "#norm=q4_0"]
    file = tmp_path / "rules.txt"
    file.write_bytes((end or "\n").join(lines).encode() + end.encode())
    found = plan("--rules", file, "--type", "f16")
    assert found["rules"] == ["weight=Q8_0", "^ema=drop", "norm=keep"]
    assert found["dropped"][0]["why"] == "rule '^ema=drop'"


def test_the_order_of_all_rules(plan, tmp_path):
    one, two = tmp_path / "1.txt", tmp_path / "2.txt"
    one.write_text("b=f16\nweight=q8_0\n")
    two.write_text("half=f16\n")
    options = ["--tensor-type-rules", "odd=bf16,norm=f16", "--rules", one, "--rule", "a.weight=bf16", "--rules", two]
    found = plan(*options, "--tensor-type", "deep=q4_0")
    assert found["rules"] == [
        "a.weight=BF16", "deep=Q4_0", "b=F16", "weight=Q8_0", "half=F16", "odd=BF16", "norm=F16",
    ]  # fmt: skip
    types = {t["name"]: t["to"] for t in found["tensors"]}
    assert (types["a.weight"], types["half.weight"], types["odd.weight"]) == ("BF16", "Q8_0", "F16")


@pytest.mark.parametrize("text", ["", "# nothing\n\n", "\n\n\n"])
def test_a_file_without_rules(plan, tmp_path, text):
    file = tmp_path / "rules.txt"
    file.write_text(text)
    assert plan("--rules", file)["rules"] == []


def test_rules_from_a_pipe(headrace, source, output):
    command = ["convert", source, "-o", output / "o.gguf", "--dry-run", "--json", "--rules", "/dev/stdin"]
    result = headrace(*command, input="weight=q8_0\n")
    assert json.loads(result.stdout)["rules"] == ["weight=Q8_0"]


@pytest.mark.parametrize(
    "text, line, words",
    [
        ("weight=q8_0\n\nnothing\n", 3, ["rule 'nothing': has no action"]),
        ("# one\nweight=q9\n", 2, ["unknown type or action 'q9'"]),
        ("weight=q8_0 # eight bits\n", 1, ["unknown type or action 'q8_0 # eight bits'"]),
        ("norm=f16\r\n\r\n=f32\r\n", 3, ["no pattern"]),
        ("\0\n", 1, ["has no action"]),
        ("norm=f16\n\n(=f16\n", 3, ["bad pattern", "missing )"]),
        ("norm=f16\nnone_such=f16\n", 2, ["'none_such=F16' matches no tensor"]),
    ],
)
def test_wrong_lines(refused, tmp_path, text, line, words):
    file = tmp_path / "rules.txt"
    file.write_bytes(text.encode())
    refused(2, [f"{file}: line {line}: ", *words], "--rules", file)


def test_a_byte_order_mark_says_nothing(plan, tmp_path):
    """Editors put one there."""
    file = tmp_path / "rules.txt"
    file.write_bytes(b"\xef\xbb\xbfweight=q8_0\r\n")
    assert plan("--rules", file)["rules"] == ["weight=Q8_0"]


def test_files_that_can_not_be_read(refused, tmp_path):
    refused(1, ["absent.txt", "can't read the rules"], "--rules", tmp_path / "absent.txt")
    refused(1, [str(tmp_path), "can't read the rules"], "--rules", tmp_path)
    long = tmp_path / "long.txt"
    long.write_text("#" * (1 << 20) + "\n")
    refused(2, [str(long), "too long"], "--rules", long)
    if os.geteuid() != 0:
        long.chmod(0)
        refused(1, ["can't read the rules"], "--rules", long)
