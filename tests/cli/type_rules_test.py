"""headrace convert --tensor-type-rules and --skip-list."""

import json
import pathlib

import pytest
import weights

GOLDEN = pathlib.Path(__file__).parent.parent / "data/golden/sdcpp"


@pytest.fixture
def plan(headrace, tmp_path):
    """The types that a conversion would give: {tensor: type}."""

    def ask(model, *options):
        result = headrace("convert", model, "-o", tmp_path / "plan.gguf", "--dry-run", "--json", *options)
        assert result.returncode == 0, result.stderr
        return {t["name"]: t["to"] for t in json.loads(result.stdout)["tensors"]}

    return ask


def test_the_first_match_decides_on_the_name_in_the_output(plan, model):
    types = plan(model, "--type", "q4_0", "--tensor-type-rules", r"blocks\.0=q8_0,weight=f16,^norm=q8_0")
    assert types == {
        "blocks.0.weight": "Q8_0", "blocks.1.weight": "F16", "odd.weight": "F16", "norm.bias": "Q8_0",
        "positions": "I32",
    }  # fmt: skip


def test_rules_see_prefixes(headrace, model, output):
    arguments = ["convert", "--vae", model, "-o", output / "o.gguf", "--dry-run", "--json", "--tensor-type-rules"]
    plan = json.loads(headrace(*arguments, r"^vae\.blocks=q8_0").stdout)
    assert [t["to"] for t in plan["tensors"]][:2] == ["Q8_0", "Q8_0"]
    assert plan["tensors"][0]["why"] == r"rule '^vae\.blocks=Q8_0'"
    assert headrace(*arguments, "^blocks=q8_0").returncode == 2


def test_commas_and_equals_signs_inside_a_pattern(plan, tmp_path):
    tensors = {name: weights.random_floats(2, 32) for name in ["a=b", "aaa", "c,d", "e[f", "g,1", "h]"]}
    model = weights.write_safetensors(tmp_path / "m.safetensors", tensors)
    rules = r"a=b=q8_0, a{2,3}$=f16,g[[:punct:],x]1=f64 ,c[],]d=bf16,e\[f=q4_0,^h[^],]*]=q5_0,"
    types = plan(model, "--tensor-type-rules", rules)
    assert types == {"a=b": "Q8_0", "aaa": "F16", "c,d": "BF16", "e[f": "Q4_0", "g,1": "F64", "h]": "Q5_0"}


@pytest.mark.parametrize(
    "rules, words",
    [
        ("weight", ["'weight' is no rule", "REGEX=TYPE"]),
        ("=f16", ["is no rule"]),
        ("weight=", ["is no rule"]),
        ("weight=f16,,bias=f32", ["'' is no rule"]),
        (",", ["'' is no rule"]),
        ("weight=q9_0", ["unknown type 'q9_0'", "did you mean"]),
        ("weight=q8_K", ["can't make Q8_K"]),
        ("weight=iq2_xxs", ["can't make IQ2_XXS"]),
        ("(weight=f16", ["bad pattern", "missing )"]),
        ("(?!a)weight=f16", ["bad pattern", "look-ahead"]),
        ("weight=f16,nothing_has_this=f32", ["'nothing_has_this=F32' matches no tensor"]),
    ],
)
def test_wrong_rules_are_refused_before_any_work(headrace, model, output, rules, words):
    result = headrace("convert", model, "-o", output / "o.gguf", "--tensor-type-rules", rules)
    assert result.returncode == 2
    for word in words:
        assert word in result.stderr
    assert list(output.iterdir()) == []


def test_a_rule_that_others_shadow_is_noted(headrace, model, output):
    rules = "weight=f16,odd.weight=f32"
    result = headrace("convert", model, "-o", output / "o.gguf", "--tensor-type-rules", rules)
    assert result.returncode == 0
    assert "rule 'odd.weight=F32' decides nothing" in result.stderr


def test_a_rule_for_integers_is_noted(headrace, model, output):
    result = headrace("convert", model, "-o", output / "o.gguf", "--tensor-type-rules", "positions=f16")
    assert result.returncode == 0
    assert "rule 'positions=F16' decides nothing" in result.stderr


def test_a_skip_list_without_a_type_is_noted(headrace, model, output):
    result = headrace("convert", model, "-o", output / "o.gguf", "--skip-list", "sdcpp")
    assert result.returncode == 0
    assert "--for sdcpp keeps nothing: no type was asked for" in result.stderr


def test_the_report_carries_the_rules(headrace, model, output):
    options = ["--tensor-type-rules", "weight=f16", "--skip-list", "sdcpp", "--json", "--dry-run"]
    report = json.loads(headrace("convert", model, "-o", output / "o.gguf", *options).stdout)
    assert (report["rules"], report["for"]) == (["weight=F16"], "sdcpp")


def test_small_types_come_last_and_disturb_no_alignment(headrace, output, tmp_path):
    tensors = {name: weights.random_floats(*shape) for name, shape in
               {"a": (1, 4), "b": (4, 2), "c": (2, 4), "odd": (3, 1), "d": (2, 2)}.items()}  # fmt: skip
    model = weights.write_safetensors(tmp_path / "m.safetensors", tensors)
    path = output / "o.safetensors"
    result = headrace("convert", model, "-o", path, "--type", "f6_e2m3", "--tensor-type-rules", "^b=f16,^d=f4")
    assert result.returncode == 0, result.stderr
    listed = json.loads(headrace("inspect", path, "--tensors", "--json").stdout)["tensors"]
    by_place = sorted(listed, key=lambda t: t["offset"])
    assert [t["name"] for t in by_place] == ["b", "odd", "a", "c", "d"]
    assert all(t["offset"] % 2 == 0 for t in by_place[:2])


def test_what_has_no_sign_says_so(headrace, model, output):
    result = headrace("convert", model, "-o", output / "o.safetensors", "--type", "f8_e8m0")
    assert result.returncode == 1
    assert "can't be represented in F8_E8M0" in result.stderr and "has the range" not in result.stderr


def test_the_type_asked_for_is_named_not_its_fallback(headrace, model, output):
    result = headrace("convert", model, "-o", output / "o.safetensors", "--type", "q4_K", "--tensor-type-rules", "x^|a=f16")
    assert result.returncode == 1
    assert "safetensors can't hold Q4_K tensors" in result.stderr


def test_unknown_skip_list(headrace, model, output):
    result = headrace("convert", model, "-o", output / "o.gguf", "--skip-list", "comfy")
    assert result.returncode == 2
    assert "sdcpp or none" in result.stderr


def sdcpp_types():
    return json.loads((GOLDEN / "types.json").read_text())["types"]


@pytest.mark.parametrize("kind", sorted(set(sdcpp_types()) - {"rules"}))
def test_the_skip_list_is_stable_diffusion_cpps(plan, kind):
    """The same types as stable-diffusion.cpp chose, but for vectors, which it quantises and Headrace makes F32."""
    types = plan(GOLDEN / "in.safetensors", "--type", kind, "--skip-list", "sdcpp")
    theirs = sdcpp_types()[kind]
    assert types.keys() == theirs.keys()
    norms = {name for name in theirs if name.endswith("norm.weight")}
    assert len(norms) == 4 and all(types[name] == ("F16" if kind == "f16" else "F32") for name in norms)
    for name in theirs.keys() - norms:
        assert types[name] == theirs[name], name


def test_rules_as_stable_diffusion_cpp_takes_them(plan):
    """Its rules, and its choices; but a rule overrides the skip list here, so its third rule has an effect."""
    rules = r"mlp\.fc1=q4_K,x_block.*proj=f32,bias=f32"
    types = plan(GOLDEN / "in.safetensors", "--type", "q8_0", "--skip-list", "sdcpp", "--tensor-type-rules", rules)
    for name, kind in sdcpp_types()["rules"].items():
        expected = "F32" if name.endswith((".bias", "norm.weight")) else kind
        assert types[name] == expected, name


def test_the_same_q8_0_bytes_as_stable_diffusion_cpp(headrace, output):
    path = output / "ours.gguf"
    options = ["--type", "q8_0", "--skip-list", "sdcpp", "--tensor-type-rules", "norm.weight=q8_0"]
    assert headrace("convert", GOLDEN / "in.safetensors", "-o", path, *options).returncode == 0
    result = headrace("verify", GOLDEN / "q8_0.gguf", path, "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout)["identical"] == 28
