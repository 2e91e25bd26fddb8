"""headrace convert --select, --drop, --strip-prefix, --rename, --prefix and --prefer: which tensors, by which names."""

import json

import numpy as np
import pytest
import weights
from gguf_files import read_gguf, read_pairs
from streams_test import convert_stream

MODEL = ["layers.0.q", "layers.0.k", "layers.1.q", "layers.1.k", "norm", "ema.decay"]


def write_model(path, *names, seed=1):
    """No two tensors have the same numbers."""
    return weights.write_safetensors(
        path, {n: weights.random_floats(2, 32, seed=seed + i) for i, n in enumerate(names)}
    )


@pytest.fixture
def source(tmp_path):
    return write_model(tmp_path / "source.safetensors", *MODEL)


@pytest.fixture
def becomes(headrace, source, output):
    """Converts; gives {new name: old name}, told by the bytes."""

    def convert(*options):
        path = output / "out.safetensors"
        result = headrace("convert", source, "-o", path, "--force", *options)
        assert result.returncode == 0, result.stderr
        old = {tensor: name for name, tensor in weights.read_safetensors(source).items()}
        return {name: old[tensor] for name, tensor in weights.read_safetensors(path).items()}

    return convert


@pytest.fixture
def refused(headrace, source, output):
    """Asserts that a conversion ends with that status, says these words and writes nothing."""

    def check(status, words, *options, inputs=None):
        for path in [output / "out.safetensors", output / "out.gguf"]:
            result = headrace("convert", *(inputs or [source]), "-o", path, *options)
            assert result.returncode == status, result
            for word in words:
                assert word in result.stderr
            assert list(output.iterdir()) == []

    return check


def only(*names):
    return {name: name for name in names}


@pytest.mark.parametrize(
    "options, expected",
    [
        (["--select", "^layers"], only(*MODEL[:4])),
        (["--select", "norm", "--select", r"0\.q$"], only("layers.0.q", "norm")),
        (["--drop", "^ema", "--drop", "k$"], only("layers.0.q", "layers.1.q", "norm")),
        (["--select", "layers", "--drop", r"\.0\."], only("layers.1.q", "layers.1.k")),
        (["--select", ""], only(*MODEL)),
    ],
)
def test_patterns_choose(becomes, options, expected):
    found = becomes(*options)
    assert found == expected and list(found) == list(expected)


@pytest.mark.parametrize(
    "options, expected",
    [
        (["--strip-prefix", "ema."], {"decay": "ema.decay"}),
        (["--strip-prefix", "layers.0.", "--strip-prefix", "layers."], {"q": "layers.0.q", "1.q": "layers.1.q"}),
        (["--prefix", "x."], {"x.norm": "norm", "x.layers.1.k": "layers.1.k"}),
        (["--rename", "a=A"], {"lAyers.0.q": "layers.0.q", "emA.decAy": "ema.decay"}),
        (["--rename", r"^layers\.(\d)\.(\w)=\2.of.\1"], {"q.of.0": "layers.0.q", "k.of.1": "layers.1.k"}),
        (["--rename", r"norm=[\0|\0]"], {"[norm|norm]": "norm"}),
        (["--rename", r"^norm=\\"], {"\\": "norm"}),
        (["--rename", "layers=blk", "--rename", r"^blk\.0=first"], {"first.q": "layers.0.q", "blk.1.q": "layers.1.q"}),
        (["--rename", r"\.q$=.t", "--rename", r"\.k$=.q", "--rename", r"\.t$=.k"], {"layers.0.k": "layers.0.q"}),
        (["--rename", "m=größe"], {"norgröße": "norm"}),
    ],
)
def test_names_change(becomes, options, expected):
    found = becomes(*options)
    assert len(found) == len(MODEL)
    assert list(found.values()) == MODEL
    for new, old in expected.items():
        assert found[new] == old


def test_the_order_of_the_steps(becomes):
    """Patterns see the input's names; then a prefix goes, names change, and another prefix comes."""
    options = ["--prefix", "p.", "--rename", r"^(\d)\.=blk.\1.", "--strip-prefix", "layers.", "--select", "^layers"]
    options += ["--drop", "k$"]
    assert becomes(*options) == {"p.blk.0.q": "layers.0.q", "p.blk.1.q": "layers.1.q"}


def test_rules_see_the_new_names(headrace, source, output):
    options = ["--rename", "^layers=blk", "--prefix", "m.", "--rule", r"^m\.blk\.0=f16", "--rule", "ema=drop"]
    result = headrace("convert", source, "-o", output / "o.safetensors", "--dry-run", "--json", *options)
    plan = json.loads(result.stdout)
    assert [t["name"] for t in plan["tensors"] if t["to"] == "F16"] == ["m.blk.0.q", "m.blk.0.k"]
    assert plan["dropped"] == [{"name": "m.ema.decay", "input": 0, "source_name": "ema.decay", "why": "rule 'ema=drop'"}]


def test_patterns_see_the_prefixes_of_inputs(headrace, tmp_path, output):
    a, b = write_model(tmp_path / "a.safetensors", "x", "y"), write_model(tmp_path / "b.safetensors", "x", "z", seed=9)
    path = output / "o.safetensors"
    options = ["--drop", r"^vae\.z", "--rename", r"^vae\.=first_stage_model."]
    result = headrace("convert", a, "--vae", b, "-o", path, *options)
    assert result.returncode == 0, result.stderr
    expected = {name: weights.read_safetensors(a)[name] for name in ("x", "y")}
    expected["first_stage_model.x"] = weights.read_safetensors(b)["x"]
    assert weights.read_safetensors(path) == expected


@pytest.mark.parametrize(
    "options, words",
    [
        (["--select", "nothing"], ["--select 'nothing' matches no tensor"]),
        (["--select", "norm", "--select", "nothing"], ["--select 'nothing' matches no tensor"]),
        (["--drop", "nothing"], ["--drop 'nothing' matches no tensor", "inspect"]),
        (["--strip-prefix", "nothing"], ["--strip-prefix 'nothing'", "no tensor begins with it"]),
        (["--rename", "nothing=x"], ["--rename 'nothing' matches no tensor"]),
        (["--rename", "a=b=c"], ["--rename 'a=b' matches no tensor"]),
        (["--select", "("], ["--select '('", "bad pattern", "missing )"]),
        (["--drop", "(?!a)"], ["--drop '(?!a)'", "bad pattern", "look-ahead"]),
        (["--rename", "[=x"], ["--rename '['", "bad pattern"]),
        (["--rename", r"(norm)=\2"], [r"'\2' can't replace it", "1 parenthesized"]),
        (["--rename", "norm=x\\"], ["'x\\' can't replace it"]),
        (["--rename", r"norm=\x"], [r"'\x' can't replace it"]),
        (["--rename", "norm"], ["'norm' isn't understood", "PATTERN=REPLACEMENT"]),
        (["--rename", "=norm"], ["'=norm' isn't understood"]),
        (["--prefer", "middle"], ["--prefer", "first or last", "'middle'"]),
    ],
)
def test_wrong_options(refused, options, words):
    refused(2, words, *options)


def test_a_name_twice(refused, becomes):
    refused(1, ["tensor 'norm'", "(as 'ema.decay')", "both have it", "--prefer"], "--rename", r"ema\.decay=norm")
    refused(1, ["tensor 'q'", "(as 'layers.0.q')", "(as 'layers.1.q')"], "--rename", r"layers\.\d\.=")
    for which, old in [("first", "norm"), ("last", "ema.decay")]:
        found = becomes("--rename", r"ema\.decay=norm", "--prefer", which)
        assert found == only(*MODEL[:4]) | {"norm": old}


def test_a_name_of_two_inputs(refused, headrace, source, tmp_path, output):
    other = write_model(tmp_path / "other.safetensors", "norm", "layers.0.q", "extra", seed=50)
    refused(1, ["tensor 'norm'", str(source), str(other), "--prefer"], inputs=[source, other])
    own, others = weights.read_safetensors(source), weights.read_safetensors(other)
    for which, expected in [("first", others | own), ("last", own | others)]:
        path = output / f"{which}.safetensors"
        result = headrace("convert", source, other, "-o", path, "--prefer", which)
        assert result.returncode == 0, result.stderr
        assert weights.read_safetensors(path) == expected
        assert f"of two with one name the {which} is taken: 2 tensors, the first 'norm'" in result.stderr


def test_prefer_of_three_inputs(headrace, tmp_path, output):
    files = [write_model(tmp_path / f"{i}.safetensors", "x", seed=i) for i in range(3)]
    for which, expected in [("first", 0), ("last", 2)]:
        path = output / f"{which}.safetensors"
        assert headrace("convert", *files, "-o", path, "--prefer", which).returncode == 0
        assert weights.read_safetensors(path) == weights.read_safetensors(files[expected])


def test_prefer_without_a_choice_to_make(becomes):
    assert becomes("--prefer", "last") == only(*MODEL)


def test_what_is_left_out_is_said(headrace, source, output):
    result = headrace("convert", source, "-o", output / "o.gguf", "--drop", "layers")
    assert result.returncode == 0
    assert "note: left out: 4 tensors, the first 'layers.0.q'; --explain NAME says why" in result.stderr
    options = ["--drop", "^ema", "--select", "layers|ema", "--dry-run", "--json"]
    plan = json.loads(headrace("convert", source, "-o", output / "p.gguf", *options).stdout)
    assert plan["tensor_count"] == 4
    assert [(t["name"], t["why"]) for t in plan["dropped"]] == [
        ("norm", "no --select matches it"),
        ("ema.decay", "--drop '^ema'"),
    ]


def test_names_too_long_for_anyone(refused):
    """Each doubles the names; they don't get the memory."""
    refused(2, ["too long"], *(part for _ in range(40) for part in ("--rename", r"^(.*)$=\1\1")))


def test_the_same_as_gguf(headrace, source, output):
    path = output / "o.gguf"
    options = ["--drop", "ema", "--rename", "^layers=blk", "--prefix", "m."]
    assert headrace("convert", source, "-o", path, *options).returncode == 0
    expected = {"m." + name.replace("layers", "blk"): data for name, data in weights.read_safetensors(source).items()}
    assert read_gguf(path) == {name: data for name, data in expected.items() if name != "m.ema.decay"}


@pytest.mark.parametrize(
    "options",
    [
        ["--drop", "norm|ema"],
        ["--drop", r"layers\.0"],
        ["--select", r"layers\.1"],
        ["--rename", "layers=blk", "--prefix", "x."],
        ["--rename", "norm=layers.0.q", "--prefer", "last", "--type", "q8_0"],
        ["--rename", "norm=layers.0.q", "--prefer", "first", "--shard-size", "600"],
    ],
)
@pytest.mark.parametrize("kind", ["safetensors", "gguf"])
def test_a_stream_gives_what_the_file_gives(binary, headrace, source, tmp_path, output, kind, options):
    if kind == "gguf":
        assert headrace("convert", source, "-o", tmp_path / "in.gguf").returncode == 0
        source = tmp_path / "in.gguf"
    for folder in ("file", "stream"):
        (output / folder).mkdir()
    result = headrace("convert", source, "-o", output / "file/o.gguf", *options)
    assert result.returncode == 0, result.stderr
    result = convert_stream(binary, source.read_bytes(), "-o", output / "stream/o.gguf", *options)
    assert result.returncode == 0, result.stderr
    expected, found = ({p.name: p.read_bytes() for p in (output / f).iterdir()} for f in ("file", "stream"))
    assert found == expected


def test_shards(headrace, source, output):
    """What is left out takes no room in them."""
    path = output / "o.safetensors"
    options = ["--drop", "^norm", "--rename", "^layers=blk", "--shard-size", "512"]
    result = headrace("convert", source, "-o", path, *options)
    assert result.returncode == 0, result.stderr
    index = json.loads((output / "o.safetensors.index.json").read_text())
    names = ["blk.0.q", "blk.0.k", "blk.1.q", "blk.1.k", "ema.decay"]
    assert [index["weight_map"][name] for name in names] == [f"o-0000{i}-of-00003.safetensors" for i in (1, 1, 2, 2, 3)]
    merged = output / "merged.safetensors"
    assert headrace("merge", output / "o.safetensors.index.json", "-o", merged).returncode == 0
    expected = {n.replace("layers", "blk"): t for n, t in weights.read_safetensors(source).items() if n != "norm"}
    assert weights.read_safetensors(merged) == expected


SHAPES = {
    "deep": (2, 3, 2, 5, 32),
    "deeper": (2, 1, 3, 2, 4, 32),
    "gone": (1, 2, 2, 2, 8),
    "one": (),
    "lost": (),
    "row": (1,),
}


@pytest.fixture
def shapes(tmp_path):
    """What GGUF can't list as it is."""
    tensors = {name: weights.random_floats(*shape, seed=i) for i, (name, shape) in enumerate(SHAPES.items())}
    return weights.write_safetensors(
        tmp_path / "shapes.safetensors", {n: np.asarray(t, "f4") for n, t in tensors.items()}
    )


def test_recorded_shapes_follow_their_tensors(headrace, shapes, output):
    """Whether names change on the way to GGUF, within it or on the way back."""
    options = ["--drop", "^(gone|lost)$", "--rename", "^deep$=wide", "--rename", "^one$=scalar", "--prefix", "p."]
    places = {"deep": "p.wide", "deeper": "p.deeper", "one": "p.scalar", "row": "p.row"}
    expected = {new: weights.read_safetensors(shapes)[old] for old, new in places.items()}
    for i, where in enumerate([0, 1, 2]):
        path = shapes
        for step, suffix in enumerate(["gguf", "gguf", "safetensors"]):
            result = headrace(
                "convert", path, "-o", output / f"{i}{step}.{suffix}", *(options if step == where else [])
            )
            assert result.returncode == 0, result.stderr
            path = output / f"{i}{step}.{suffix}"
        assert weights.read_safetensors(path) == expected
    records = {
        key: value for key, (_, value) in read_pairs(output / "01.gguf").items() if "shape" in key or "scalar" in key
    }
    assert records == {
        "comfy.gguf.orig_shape.p.wide": [2, 3, 2, 5, 32],
        "comfy.gguf.orig_shape.p.deeper": [2, 1, 3, 2, 4, 32],
        "headrace.scalars": ["p.scalar"],
    }


def test_recorded_shapes_of_names_that_change_places(headrace, shapes, output):
    a, b = output / "a.gguf", output / "b.gguf"
    options = ["--rename", "^deep$=tmp", "--rename", "^deeper$=deep", "--rename", "^tmp$=deeper"]
    options += ["--rename", "^one$=tmp", "--rename", "^row$=one", "--rename", "^tmp$=row"]
    assert headrace("convert", shapes, "-o", a).returncode == 0
    assert headrace("convert", a, "-o", b, *options).returncode == 0
    assert headrace("convert", b, "-o", output / "o.safetensors").returncode == 0
    old, new = weights.read_safetensors(shapes), weights.read_safetensors(output / "o.safetensors")
    places = {"deep": "deeper", "deeper": "deep", "one": "row", "row": "one"}
    assert new == {places.get(name, name): tensor for name, tensor in old.items()}


def test_recorded_shapes_go_with_what_is_dropped(headrace, shapes, output):
    a, b = output / "a.gguf", output / "b.gguf"
    assert headrace("convert", shapes, "-o", a).returncode == 0
    result = headrace("convert", a, "-o", b, "--select", "^row$")
    assert result.returncode == 0 and "fits no tensor" not in result.stderr
    assert not [key for key in read_pairs(b) if "shape" in key or "scalar" in key]


def test_recorded_shapes_of_two_inputs(headrace, shapes, output):
    a = output / "a.gguf"
    assert headrace("convert", shapes, "-o", a).returncode == 0
    result = headrace("convert", a, "--component", f"x.={shapes}", "--component", f"y.={a}", "-o", output / "b.gguf")
    assert result.returncode == 0, result.stderr
    assert headrace("convert", output / "b.gguf", "-o", output / "o.safetensors").returncode == 0
    old = weights.read_safetensors(shapes)
    expected = {prefix + name: tensor for prefix in ("", "x.", "y.") for name, tensor in old.items()}
    assert weights.read_safetensors(output / "o.safetensors") == expected
