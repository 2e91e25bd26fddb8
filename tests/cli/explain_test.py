"""headrace convert --explain: what becomes of one tensor, and why."""

import json

import pytest
import weights


@pytest.fixture
def source(tmp_path):
    shapes = {
        "layers.0.q": (8, 256),
        "layers.0.k": (4, 256),
        "odd.weight": (3, 20),
        "norm": (32,),
        "ema.x": (2, 32),
        "deep": (1, 2, 3, 4, 32),
    }
    return weights.write_safetensors(
        tmp_path / "m.safetensors",
        {name: weights.random_floats(*shape, seed=len(name)) for name, shape in shapes.items()},
    )


@pytest.fixture
def explained(headrace, source, output):
    """What it says of a name: as text, and as JSON the tensors and those left out."""

    def ask(name, *options, inputs=None):
        command = ["convert", *(inputs or [source]), "-o", output / "o.gguf", "--explain", name, *options]
        text, document = headrace(*command), headrace(*command, "--json")
        assert text.returncode == document.returncode == 0, text.stderr
        assert text.stderr == document.stderr == ""
        assert list(output.iterdir()) == []
        answer = json.loads(document.stdout)
        assert answer.keys() == {"tensors", "dropped"}
        return text.stdout, answer["tensors"], answer["dropped"]

    return ask


def test_a_tensor(explained, source):
    text, [tensor], dropped = explained("layers.0.q", "--type", "q8_0")
    assert [line.split(maxsplit=1) for line in text.splitlines()] == [
        ["tensor", "layers.0.q"],
        ["from", f"layers.0.q in {source}"],
        ["type", "F32 -> Q8_0"],
        ["shape", "[8, 256]"],
        ["bytes", "8,192 -> 2,176"],
        ["why", "--type Q8_0"],
    ]
    assert dropped == []
    expected = {
        "name": "layers.0.q",
        "source_name": "layers.0.q",
        "input": 0,
        "from": "F32",
        "to": "Q8_0",
        "bytes": 2176,
    }
    assert expected.items() <= tensor.items()


def test_it_says_what_the_plan_says(explained, headrace, source, output):
    options = ["--type", "q8_0", "--rule", "^l=f16", "--rename", "^norm=last", "--split", "layers.0.q=a,b"]
    plan = json.loads(headrace("convert", source, "-o", output / "o.gguf", *options, "--dry-run", "--json").stdout)
    for tensor in plan["tensors"]:
        assert explained(tensor["name"], *options)[1] == [tensor]


@pytest.mark.parametrize(
    "name, options, why",
    [
        ("norm", [], "kept"),
        ("norm", ["--type", "f32"], "already F32"),
        ("norm", ["--type", "q8_0"], "vector"),
        ("odd.weight", ["--type", "q8_0"], "row of 20 isn't whole blocks of 32"),
        ("layers.0.q", ["--rule", "layers=fallback:q4_K,q5_0"], "rule 'layers=fallback:Q4_K,Q5_0'"),
        ("layers.0.q", ["--rule", "ndim==2=rmse:0.01"], "the data decides"),
    ],
)
def test_reasons(explained, name, options, why):
    text, [tensor], _ = explained(name, *options)
    assert why in tensor["why"]
    assert f"why      {tensor['why']}\n" in text


def test_by_the_old_name_and_the_new(explained):
    options = ["--rename", r"^layers\.=blk.", "--prefix", "m."]
    by_old, by_new = explained("layers.0.q", *options), explained("m.blk.0.q", *options)
    assert by_old == by_new
    assert (by_old[1][0]["name"], by_old[1][0]["source_name"]) == ("m.blk.0.q", "layers.0.q")


def test_a_name_of_several(explained, tmp_path):
    other = weights.write_safetensors(tmp_path / "other.safetensors", {"norm": weights.random_floats(5)})
    text, tensors, _ = explained("norm", "--vae", other)
    assert [(t["name"], t["input"], t["shape"]) for t in tensors] == [("norm", 0, [32]), ("vae.norm", 1, [5])]
    assert f"norm in {other}" in text and text.count("tensor   ") == 2
    assert explained("vae.norm", "--vae", other)[1] == tensors[1:]


def test_shapes_that_change(explained):
    text, [tensor], _ = explained("deep")
    assert "shape    [2, 3, 4, 32] from [1, 2, 3, 4, 32]\n" in text
    assert (tensor["shape"], tensor["source_shape"]) == ([2, 3, 4, 32], [1, 2, 3, 4, 32])


@pytest.mark.parametrize(
    "options, old, why",
    [
        (["--drop", "^ema"], "ema.x", "--drop '^ema'"),
        (["--rule", "^ema=drop"], "ema.x", "rule '^ema=drop'"),
        (["--select", "layers"], "ema.x", "no --select matches it"),
        (["--rename", "norm=ema.x", "--prefer", "first"], "ema.x", "--prefer first"),
    ],
)
def test_what_is_left_out(explained, source, options, old, why):
    text, _, [tensor] = explained("ema.x", *options)
    assert tensor == {"name": "ema.x", "input": 0, "source_name": old, "why": why}
    assert f"from     {old} in {source}\nwhy      left out: {why}\n" in text


@pytest.mark.parametrize("name", ["ema.x", "m.avg.x"])
def test_what_is_left_out_by_its_new_name(explained, name):
    """Either name finds it."""
    options = ["--rename", "^ema=avg", "--prefix", "m.", "--rule", "^m.avg=drop"]
    text, tensors, [tensor] = explained(name, *options)
    assert tensors == [] and tensor["why"] == "rule '^m.avg=drop'"
    assert "left out: rule" in text


@pytest.mark.parametrize("name", ["ema.x", "vae.ema.x"])
def test_what_is_left_out_of_a_component(explained, source, name):
    _, tensors, [tensor] = explained(name, "--drop", r"^vae\.ema", inputs=["--vae", source])
    assert tensors == [] and tensor["why"] == r"--drop '^vae\.ema'"


def test_layers_that_move_up(explained, tmp_path):
    tensors = {f"blk.{i}.w": weights.random_floats(2, 32, seed=i) for i in range(3)}
    model = weights.write_safetensors(tmp_path / "l.safetensors", tensors)
    options = ["--prune-layers", "1"]
    _, kept, dropped = explained("blk.1.w", *options, inputs=[model])
    assert [(t["name"], t["source_name"]) for t in kept] == [("blk.1.w", "blk.2.w")]
    assert [t["why"] for t in dropped] == ["--prune-layers"]


@pytest.mark.parametrize("name", ["layers.0.q", "layers.0.k", "blk.0.qk"])
def test_what_is_joined(explained, name):
    """By the name of the whole or of any part."""
    options = ["--rename", "^layers=blk", "--concat", "blk.0.qk=blk.0.q,blk.0.k"]
    text, [tensor], _ = explained(name, *options)
    assert (tensor["name"], tensor["joined_from"], tensor["shape"]) == ("blk.0.qk", 2, [12, 256])
    assert tensor["why"] == "kept, joined from 2"
    assert "from     layers.0.q in " in text and ", and 1 more\n" in text


def test_what_is_cut(explained):
    _, tensors, _ = explained("norm", "--split", "norm=a:1,b:31")
    assert [(t["name"], t["source_name"], t["shape"]) for t in tensors] == [("a", "norm", [1]), ("b", "norm", [31])]
    assert {t["why"] for t in tensors} == {"kept, a part of 'norm'"}
    assert explained("b", "--split", "norm=a:1,b:31")[1] == tensors[1:]


@pytest.mark.parametrize("name", ["none_such", "layers", "layers.0.q ", ""])
def test_an_unknown_name(headrace, source, output, name):
    command = ["convert", source, "-o", output / "o.gguf", "--explain", name]
    for options in ([], ["--json"], ["--dry-run"]):
        result = headrace(*command, *options)
        assert result.returncode == 2, result.stdout
        assert "--explain" in result.stderr
        assert f"'{name}'" in result.stderr
        assert list(output.iterdir()) == []


def test_it_replaces_nothing(headrace, source, output):
    (output / "o.gguf").write_text("precious")
    result = headrace(
        "convert", source, "-o", output / "o.gguf", "--explain", "norm", "--force", "--report", output / "r.json"
    )
    assert result.returncode == 0, result.stderr
    assert [path.name for path in output.iterdir()] == ["o.gguf"]
    assert (output / "o.gguf").read_text() == "precious"


def test_a_wrong_conversion_is_still_wrong(headrace, source, output):
    result = headrace("convert", source, "-o", output / "o.gguf", "--explain", "norm", "--drop", "none_such")
    assert result.returncode == 2
    assert "--drop 'none_such' matches no tensor" in result.stderr
