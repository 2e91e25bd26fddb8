"""headrace convert --for FILE: profiles of a user's own."""

import json

import gguf
import numpy as np
import pytest
import weights
from narrow_floats import F8_E4M3

TINY = {"name": "tiny", "has": [["none"], ["a.weight", "b.weight"]]}


@pytest.fixture
def model(tmp_path):
    """A small model, all of it under a prefix."""
    shapes = {"net.a.weight": (8, 256), "net.b.weight": (20, 64), "net.c.weight": (3, 100), "net.d.bias": (4,)}
    arrays = {name: weights.random_floats(*shape) for name, shape in shapes.items()}
    return weights.write_safetensors(tmp_path / "model.safetensors", arrays)


@pytest.fixture
def convert(headrace, tmp_path, output):
    """Converts by a profile, given as a text or as what a JSON has."""

    def run(profile, *arguments, name="out.gguf"):
        path = tmp_path / "mine.json"
        path.write_text(profile if isinstance(profile, str) else json.dumps(profile))
        return headrace("convert", *arguments, "-o", output / name, "--for", path)

    return run


@pytest.fixture
def types(convert):
    """{tensor: type} of a plan."""

    def ask(profile, *arguments):
        result = convert(profile, *arguments, "--dry-run", "--json")
        assert result.returncode == 0, result.stderr
        return {t["name"]: t["to"] for t in json.loads(result.stdout)["tensors"]}

    return ask


def test_every_field(convert, output, tmp_path):
    arrays = {
        "net.a.weight": weights.random_floats(20, 64), "net.b.weight": weights.random_floats(8, 256),
        "net.uneven": weights.random_floats(3, 100), "net.vector": weights.random_floats(6).astype(np.float16),
        "net.kept": weights.random_floats(8, 256), "net.gone": weights.random_floats(4),
        "net.eight": weights.random_floats(8, 256).astype(F8_E4M3),
    }  # fmt: skip
    mine = {
        "name": "mine", "about": "Mine.", "source": "Nowhere.", "from": ["safetensors"], "from_why": "no reason",
        "to": "gguf", "longest_name": 8, "keep_uneven_rows": True, "otherwise": "bf16",
        "prefixes": [{"text": "lan.", "of": "some"}, {"text": "net.", "of": "all"}],
        "rules": ["ndim<2=f32", "kept=drop", "^eight=keep"], "needs_architecture": "it is nice to know",
        "architectures": [
            {"name": "other", "has": [["a.weight", "none"]]},
            TINY | {"has_not": ["x"], "has_not_why": "x", "rearrange": True, "rules": ["kept=keep", "gone=drop"]},
        ],
    }  # fmt: skip
    model = weights.write_safetensors(tmp_path / "m.safetensors", arrays)
    result = convert(mine, model, "--type", "q4_K")
    assert result.returncode == 0, result.stderr
    assert "--for mine: the tensors' names are those of tiny" in result.stderr
    reader = gguf.GGUFReader(output / "out.gguf")
    assert {t.name: (t.tensor_type.name, tuple(t.shape)[::-1]) for t in reader.tensors} == {
        "a.weight": ("Q4_K", (5, 256)), "b.weight": ("Q4_K", (8, 256)), "uneven": ("F32", (3, 100)),
        "vector": ("F32", (6,)), "kept": ("F32", (8, 256)), "eight": ("BF16", (8, 256)),
    }  # fmt: skip
    assert reader.fields["general.architecture"].contents() == "tiny"
    assert reader.fields["comfy.gguf.orig_shape.a.weight"].contents() == [20, 64]


def test_a_name_is_enough(headrace, convert, model, output):
    assert convert({"name": "mine"}, model, "--type", "q8_0").returncode == 0
    assert headrace("convert", model, "-o", output / "plain.gguf", "--type", "q8_0").returncode == 0
    assert (output / "out.gguf").read_bytes() == (output / "plain.gguf").read_bytes()


def test_the_name_of_a_profile_is_no_file(headrace, model, output, tmp_path):
    (tmp_path / "sdcpp").write_text("{")
    assert headrace("convert", model, "-o", output / "o.gguf", "--for", "sdcpp").returncode == 0
    assert headrace("convert", model, "-o", output / "o2.gguf", "--for", "./sdcpp").returncode == 1


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "no valid JSON"),
        ("{", "no valid JSON"),
        ('{"name": "x"} {}', "no valid JSON"),
        ("[]", "an object"),
        ("{}", "'name' isn't right"),
        ('{"about": "x"}', "'name' isn't right"),
        ('{"name": ""}', "'name' isn't right"),
        ('{"name": 1}', "'name' isn't right (expected a text)"),
        ('{"name": "x", "nmae": 1}', "'nmae' isn't right (expected a field that profiles have)"),
        ('{"name": "x", "about": 1}', "'about' isn't right (expected a text)"),
        ('{"name": "x", "from": "gguf"}', "'from' isn't right (expected a list)"),
        ('{"name": "x", "from": ["onnx"]}', "'from' isn't right (expected the name of a format"),
        ('{"name": "x", "from_why": []}', "'from_why' isn't right (expected a text)"),
        ('{"name": "x", "to": "onnx"}', "'to' isn't right (expected the name of a format"),
        ('{"name": "x", "longest_name": "9"}', "'longest_name' isn't right (expected a number of bytes)"),
        ('{"name": "x", "longest_name": -1}', "'longest_name' isn't right (expected a number of bytes)"),
        ('{"name": "x", "longest_name": 1.5}', "'longest_name' isn't right (expected a number of bytes)"),
        ('{"name": "x", "otherwise": "q9"}', "'otherwise' isn't right (expected the name of a type)"),
        ('{"name": "x", "otherwise": null}', "'otherwise' isn't right (expected a text)"),
        ('{"name": "x", "keep_uneven_rows": 1}', "'keep_uneven_rows' isn't right (expected true or false)"),
        ('{"name": "x", "needs_architecture": true}', "'needs_architecture' isn't right (expected a text)"),
        ('{"name": "x", "prefixes": {"text": "a"}}', "'prefixes' isn't right (expected a list)"),
        ('{"name": "x", "prefixes": ["net."]}', "expected an object"),
        ('{"name": "x", "prefixes": [{"of": "all"}]}', "'prefixes.text' isn't right"),
        ('{"name": "x", "prefixes": [{"text": "a", "of": "most"}]}', "'prefixes.of' isn't right (expected some"),
        ('{"name": "x", "prefixes": [{"text": "a", "if": "all"}]}', "'prefixes.if' isn't right"),
        ('{"name": "x", "rules": "ndim<2=f32"}', "'rules' isn't right (expected a list)"),
        ('{"name": "x", "rules": [1]}', "'rules' isn't right (expected a text)"),
        ('{"name": "x", "rules": ["a"]}', "rule 'a': has no action"),
        ('{"name": "x", "rules": ["a=q9_0"]}', "unknown type or action 'q9_0'"),
        ('{"name": "x", "rules": ["=f16"]}', "has no pattern and no condition"),
        ('{"name": "x", "rules": ["a=f16", "a=rmse:0.1"]}', "'rules' isn't right (expected no rmse: rules"),
        ('{"name": "x", "rules": ["(a=f16"]}', "bad pattern"),
        ('{"name": "x", "architectures": [{"has": [["a"]]}]}', "'architectures.name' isn't right"),
        ('{"name": "x", "architectures": [{"name": "t"}]}', "'architectures.has' isn't right"),
        ('{"name": "x", "architectures": [{"name": "t", "has": []}]}', "'architectures.has' isn't right"),
        ('{"name": "x", "architectures": [{"name": "t", "has": [[]]}]}', "'architectures.has' isn't right"),
        ('{"name": "x", "architectures": [{"name": "t", "has": ["a"]}]}', "'architectures.has' isn't right"),
        ('{"name": "x", "architectures": [{"name": "t", "has": [["a"]], "had": 1}]}',
         "'architectures.had' isn't right"),
        ('{"name": "x", "architectures": [{"name": "t", "has": [["a"]], "rearrange": 1}]}',
         "'architectures.rearrange' isn't right (expected true or false)"),
        ('{"name": "x", "architectures": [{"name": "t", "has": [["a"]], "rules": ["a=rmse:1"]}]}',
         "'architectures.rules' isn't right (expected no rmse: rules"),
    ],
)  # fmt: skip
def test_what_is_no_profile(convert, model, output, text, words):
    result = convert(text, model, "--type", "q8_0")
    assert result.returncode == 1, result.stderr
    assert "mine.json" in result.stderr and words in result.stderr
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("what", ["absent.json", "folder", "/dev/null"])
def test_what_is_no_file(headrace, model, output, tmp_path, what):
    (tmp_path / "folder").mkdir()
    result = headrace("convert", model, "-o", output / "o.gguf", "--for", what)
    assert result.returncode == 2
    assert f"'{what}' is neither a profile nor a file" in result.stderr
    assert list(output.iterdir()) == []


@pytest.mark.parametrize(
    "profile, status, words",
    [
        ({"from": ["gguf"], "from_why": "so it is"}, 2,
         "doesn't take this format (expected gguf, found safetensors); so it is"),
        ({"to": "safetensors"}, 2, "makes another format (expected safetensors, found gguf)"),
        ({"longest_name": 11}, 1,
         "'net.a.weight': the name is too long for --for mine (expected at most 11 bytes, found 12)"),
        ({"needs_architecture": "why not", "architectures": [TINY]}, 2,
         "of no model that it knows (expected tiny); why not"),
        ({"architectures": [TINY | {"has": [["net.a.weight"]], "has_not": ["net.d.bias"], "has_not_why": "no d"}]}, 1,
         "tensor 'net.d.bias': --for mine can't take this model; no d"),
        ({"rules": ["a=i32"]}, 1, "tensor 'net.a.weight': this version can't make I32"),
    ],
)  # fmt: skip
def test_what_a_profile_refuses(convert, model, output, profile, status, words):
    result = convert({"name": "mine"} | profile, model)
    assert result.returncode == status
    assert words in result.stderr
    assert list(output.iterdir()) == []


@pytest.mark.parametrize(
    "prefixes, first",
    [
        ([{"text": "net."}], "a.weight"),
        ([{"text": "net.", "of": "all"}], "a.weight"),
        ([{"text": "net.a.", "of": "all"}, {"text": "net.", "of": "some"}], "a.weight"),
        ([{"text": "net.a.", "of": "some"}, {"text": "net.", "of": "some"}], "weight"),
        ([{"text": "none.", "of": "some"}], "net.a.weight"),
    ],
)
def test_the_first_prefix_that_fits(types, model, prefixes, first):
    names = list(types({"name": "mine", "prefixes": prefixes}, model))
    assert (names[0], len(names)) == (first, 1 if first == "weight" else 4)


def test_no_architecture_need_be_known(convert, model, output):
    assert convert({"name": "mine", "architectures": [TINY]}, model).returncode == 0
    assert gguf.GGUFReader(output / "out.gguf").get_field("general.architecture") is None


def test_whose_rule_decides(types, model):
    """The user's, then the architecture's, then the profile's, then the type asked for."""
    mine = {
        "name": "mine", "prefixes": [{"text": "net."}], "rules": ["weight=bf16"],
        "architectures": [TINY | {"rules": ["^[ab]=f16"]}],
    }  # fmt: skip
    expected = {"a.weight": "F64", "b.weight": "F16", "c.weight": "BF16", "d.bias": "F32"}
    assert types(mine, model, "--type", "q4_K", "--rule", "^a=f64") == expected


def test_rules_that_match_nothing(types, model):
    """A user's is an error; a profile's isn't, for models differ."""
    assert set(types({"name": "mine", "rules": ["nothing=f16"]}, model).values()) == {"F32"}


def test_explain_names_the_rule_whose_type_fits_no_row(convert, model):
    for options, why in [([], "profile: 'c=Q4_K'"), (["--rule", "c=q4_K"], "rule 'c=Q4_K'")]:
        for more in [[], ["--type", "f16"]]:
            result = convert({"name": "mine", "rules": ["c=q4_K"]}, model, "--explain", "net.c.weight", *options, *more)
            assert result.stdout.splitlines()[-1] == f"why      {why}: row of 100 isn't whole blocks of 256"


def test_safetensors_keep_shapes_that_a_gguf_would_record(convert, model, output):
    """safetensors hold any shape, and have no place to record another."""
    mine = {"name": "mine", "prefixes": [{"text": "net."}], "architectures": [TINY | {"rearrange": True}]}
    assert convert(mine, model, name="out.safetensors").returncode == 0
    tensors = weights.read_safetensors(output / "out.safetensors")
    assert {name: shape for name, (_, shape, _) in tensors.items()} == {
        "a.weight": (8, 256), "b.weight": (20, 64), "c.weight": (3, 100), "d.bias": (4,),
    }  # fmt: skip


def test_a_block_type_for_what_the_output_cannot_hold(convert, output, tmp_path):
    """Rows that are no whole number of blocks, and vectors, get what --type would give them."""
    shapes = {"fits": (2, 256), "uneven": (3, 100), "vector": (256,)}
    arrays = {name: weights.random_floats(*shape).astype(F8_E4M3) for name, shape in shapes.items()}
    model = weights.write_safetensors(tmp_path / "m.safetensors", arrays)
    result = convert({"name": "mine", "otherwise": "q8_0"}, model)
    assert result.returncode == 0, result.stderr
    kinds = {t.name: t.tensor_type.name for t in gguf.GGUFReader(output / "out.gguf").tensors}
    assert kinds == {"fits": "Q8_0", "uneven": "F16", "vector": "F32"}
