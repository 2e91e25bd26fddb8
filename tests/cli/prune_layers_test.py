"""headrace convert --prune-layers: blk.N that go, and the others' new numbers."""

import json

import numpy as np
import pytest
import weights
from gguf_files import read_gguf, read_pairs
from imatrix_test import write_imatrix

LAYERS = 5
PAIRS = [
    ("general.architecture", "string", "llama"), ("general.name", "string", "tiny"),
    ("llama.block_count", "u32", LAYERS), ("llama.context_length", "u32", 64), ("llama.embedding_length", "u32", 256),
    ("llama.feed_forward_length", "u32", 512), ("llama.attention.head_count", "u32", 4),
]  # fmt: skip


def language_model():
    tensors = {
        "token_embd.weight": weights.random_floats(64, 256, seed=90),
        "output_norm.weight": weights.random_floats(256),
    }
    for i in range(LAYERS):
        tensors[f"blk.{i}.attn_q.weight"] = weights.random_floats(256, 256, seed=i)
        tensors[f"blk.{i}.ffn_down.weight"] = weights.random_floats(64, 512, seed=i + 10)
        tensors[f"blk.{i}.attn_norm.weight"] = weights.random_floats(256, seed=i + 20)
    return tensors | {"output.weight": weights.random_floats(64, 256, seed=91)}


def importance():
    """No two layers have the same."""
    random = np.random.default_rng(7)
    named = {name: array for name, array in language_model().items() if array.ndim == 2}
    return {name: (random.exponential(size=array.shape[1]).astype("f4") + 0.01, [1]) for name, array in named.items()}


def renumbered(things, gone):
    """Without those layers."""
    out = {}
    for name, thing in things.items():
        head, *rest = name.split(".", 2)
        layer = int(rest[0]) if head == "blk" else -1
        if layer not in gone:
            below = sum(g < layer for g in gone)
            out[f"blk.{layer - below}.{rest[1]}" if head == "blk" else name] = thing
    return out


def pairs_with(layers):
    return [(key, kind, layers if key == "llama.block_count" else value) for key, kind, value in PAIRS]


@pytest.fixture
def llama(tmp_path):
    return weights.write_gguf(tmp_path / "llama.gguf", PAIRS, language_model())


@pytest.fixture
def files(tmp_path, llama):
    """The model and its importance matrix; both with layers 1 and 3 left out."""
    small = weights.write_gguf(tmp_path / "small.gguf", pairs_with(3), renumbered(language_model(), [1, 3]))
    matrix = write_imatrix(tmp_path / "imatrix.gguf", importance())
    return llama, matrix, small, write_imatrix(tmp_path / "small-imatrix.gguf", renumbered(importance(), [1, 3]))


@pytest.mark.parametrize(
    "layers, gone", [("1,3", [1, 3]), ("3,1,3", [1, 3]), ("0", [0]), ("4", [4]), ("0,1,2,4", [0, 1, 2, 4])]
)
def test_the_same_as_the_smaller_model(headrace, tmp_path, output, llama, layers, gone):
    expected = weights.write_gguf(
        tmp_path / "s.gguf", pairs_with(LAYERS - len(gone)), renumbered(language_model(), gone)
    )
    result = headrace("convert", llama, "-o", output / "o.gguf", "--prune-layers", layers)
    assert result.returncode == 0, result.stderr
    assert (output / "o.gguf").read_bytes() == expected.read_bytes()
    assert read_pairs(output / "o.gguf")["llama.block_count"] == ("UINT32", LAYERS - len(gone))


@pytest.mark.parametrize(
    "options",
    [
        ["--type", "q4_K"],
        ["--type", "q4_0", "--memory", "4MiB", "-t", "3"],
        ["--recipe", "Q4_K_M"],
        ["--recipe", "q3_k_l"],
        ["--type", "q2_K", "--exclude-weights", "attn_q"],
    ],
)
def test_weighed_by_the_layers_own_importance(headrace, output, files, options):
    llama, matrix, small, small_matrix = files
    a, b = output / "a.gguf", output / "b.gguf"
    result = headrace("convert", llama, "-o", a, "--prune-layers", "1,3", "--imatrix", matrix, *options)
    assert result.returncode == 0, result.stderr
    assert "match no tensor" not in result.stderr
    assert headrace("convert", small, "-o", b, "--imatrix", small_matrix, *options).returncode == 0
    assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize(
    "there, back",
    [
        ("model.layers.", ["--rename", r"^model\.layers\.=blk."]),
        ("m.blk.", ["--strip-prefix", "m."]),
        ("layers.", ["--rename", r"^layers\.(\d+)\.=blk.\1."]),
    ],
)
def test_weighed_by_the_layers_own_importance_when_renamed_first(headrace, tmp_path, output, files, there, back):
    """The matrix has the names that the model has before its layers move up."""
    _, matrix, small, small_matrix = files
    tensors = {name.replace("blk.", there): array for name, array in language_model().items()}
    source = weights.write_safetensors(tmp_path / "other.safetensors", tensors)
    a, b = output / "a.gguf", output / "b.gguf"
    result = headrace("convert", source, "-o", a, *back, "--prune-layers", "1,3", "--imatrix", matrix, "--type", "q4_K")
    assert result.returncode == 0, result.stderr
    assert headrace("convert", small, "-o", b, "--imatrix", small_matrix, "--type", "q4_K").returncode == 0
    assert read_gguf(a) == read_gguf(b)
    assert "match no tensor" not in result.stderr


def test_no_number_of_layers_to_change(headrace, tmp_path, output):
    source = weights.write_safetensors(tmp_path / "m.safetensors", language_model())
    result = headrace("convert", source, "-o", output / "o.safetensors", "--prune-layers", "1,3")
    assert result.returncode == 0, result.stderr
    found = {name: data for name, (_, _, data) in weights.read_safetensors(output / "o.safetensors").items()}
    assert found == {name: array.tobytes() for name, array in renumbered(language_model(), [1, 3]).items()}


def test_an_override_has_the_last_word(headrace, output, llama):
    options = ["--prune-layers", "1", "--override-kv", "llama.block_count=int:40"]
    assert headrace("convert", llama, "-o", output / "o.gguf", *options).returncode == 0
    assert read_pairs(output / "o.gguf")["llama.block_count"] == ("UINT32", 40)


def test_what_is_left_out_is_said(headrace, output, llama):
    command = ["convert", llama, "-o", output / "o.gguf", "--prune-layers", "1"]
    plan = json.loads(headrace(*command, "--dry-run", "--json").stdout)
    names = [f"blk.1.{part}.weight" for part in ("attn_q", "ffn_down", "attn_norm")]
    assert plan["dropped"] == [{"name": name, "input": 0, "source_name": name, "why": "--prune-layers"} for name in names]
    moved = next(t for t in plan["tensors"] if t["name"] == "blk.3.attn_q.weight")
    assert moved["source_name"] == "blk.4.attn_q.weight"
    assert "left out: 3 tensors, the first 'blk.1.attn_q.weight'" in headrace(*command).stderr


@pytest.mark.parametrize(
    "layers, words",
    [
        ("5", ["layer 5 can't be left out", "has 5", "numbered from 0"]),
        ("1,99", ["layer 99 can't be left out"]),
        ("0,1,2,3,4", ["no layer would be left"]),
        ("x", ["--prune-layers", "3,5,7", "'x'"]),
        ("1,,3", ["--prune-layers", "'1,,3'"]),
        ("1;3", ["--prune-layers", "'1;3'"]),
        ("1-3", ["--prune-layers", "'1-3'"]),
        ("-1", ["--prune-layers", "'-1'"]),
        ("99999999999", ["--prune-layers", "'99999999999'"]),
        ("", ["--prune-layers"]),
    ],
)
def test_wrong_layers(headrace, output, llama, layers, words):
    result = headrace("convert", llama, "-o", output / "o.gguf", "--prune-layers", layers)
    assert result.returncode == 2
    for word in words:
        assert word in result.stderr
    assert list(output.iterdir()) == []


def test_a_model_without_layers(headrace, model, output):
    result = headrace("convert", model, "-o", output / "o.gguf", "--prune-layers", "0")
    assert result.returncode == 2
    assert "layer 0 can't be left out" in result.stderr
