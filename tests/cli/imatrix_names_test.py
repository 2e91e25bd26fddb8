"""Which entry of an importance matrix weighs which tensor: --include-weights, --exclude-weights, and other names."""

import numpy as np
import pytest
import weights
from gguf_files import read_gguf
from imatrix_test import write_imatrix

NAMES = ["blk.0.attn_q", "blk.0.ffn_up", "blk.1.attn_q", "blk.1.ffn_up"]


@pytest.fixture
def source(tmp_path):
    return weights.write_safetensors(
        tmp_path / "m.safetensors", {name: weights.random_floats(8, 256, seed=i) for i, name in enumerate(NAMES)}
    )


@pytest.fixture
def matrix(tmp_path):
    random = np.random.default_rng(3)
    entries = {name: (random.exponential(size=256).astype("f4") + 0.01, [1]) for name in NAMES}
    return write_imatrix(tmp_path / "i.gguf", entries)


@pytest.fixture
def quantised(headrace, output):
    """Converts to Q4_K; gives the bytes of each tensor and what was said."""

    def convert(model, *options):
        result = headrace("convert", model, "-o", output / "o.gguf", "--type", "q4_K", "--force", *options)
        assert result.returncode == 0, result.stderr
        return {name: data for name, (_, _, data) in read_gguf(output / "o.gguf").items()}, result.stderr

    return convert


@pytest.mark.parametrize(
    "options, weighed",
    [
        (["--include-weights", "attn"], ["blk.0.attn_q", "blk.1.attn_q"]),
        (["--include-weights", "0.attn", "--include-weights", "1.ffn"], ["blk.0.attn_q", "blk.1.ffn_up"]),
        (["--exclude-weights", "attn"], ["blk.0.ffn_up", "blk.1.ffn_up"]),
        (["--exclude-weights", "blk.0", "--exclude-weights", "ffn"], ["blk.1.attn_q"]),
        (["--exclude-weights", "nothing"], NAMES),
        (["--exclude-weights", "blk.*attn"], NAMES),  # no pattern
        (["--exclude-weights", "blk"], []),
    ],
)
def test_a_part_of_them(quantised, source, matrix, options, weighed):
    (by_all, _), (by_none, _) = quantised(source, "--imatrix", matrix), quantised(source)
    assert all(by_all[name] != by_none[name] for name in NAMES)
    found, _ = quantised(source, "--imatrix", matrix, *options)
    assert found == {name: (by_all if name in weighed else by_none)[name] for name in NAMES}


def test_include_and_exclude_contradict_each_other(headrace, source, matrix, output):
    options = ["--imatrix", matrix, "--include-weights", "attn", "--exclude-weights", "ffn"]
    result = headrace("convert", source, "-o", output / "o.gguf", "--type", "q4_K", *options)
    assert result.returncode == 2
    assert "--include-weights and --exclude-weights" in result.stderr
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("imatrix", [[], ["--imatrix", "ones"]])
@pytest.mark.parametrize("option", ["--include-weights", "--exclude-weights"])
def test_without_a_matrix_they_say_nothing(headrace, source, output, imatrix, option):
    """That isn't done in silence."""
    result = headrace("convert", source, "-o", output / "o.gguf", "--type", "q4_K", option, "attn", *imatrix)
    assert result.returncode == 2 or f"note: {option}" in result.stderr


def test_include_that_finds_nothing_is_not_the_types_fault(headrace, source, matrix, output):
    options = ["--imatrix", matrix, "--include-weights", "nothing"]
    result = headrace("convert", source, "-o", output / "o.gguf", "--type", "q4_K", *options)
    assert "matters to none of the types" not in result.stderr
    assert "--include-weights" in result.stderr


def test_entries_by_the_new_names(quantised, source, matrix, tmp_path):
    tensors = {name.replace("blk", "layers"): weights.random_floats(8, 256, seed=i) for i, name in enumerate(NAMES)}
    other = weights.write_safetensors(tmp_path / "other.safetensors", tensors)
    expected, _ = quantised(source, "--imatrix", matrix)
    found, said = quantised(other, "--rename", "^layers=blk", "--imatrix", matrix)
    assert found == expected
    assert "match no tensor" not in said


def test_entries_by_the_old_names(quantised, source, matrix):
    expected, _ = quantised(source, "--imatrix", matrix)
    found, said = quantised(source, "--prefix", "m.", "--imatrix", matrix)
    assert found == {"m." + name: data for name, data in expected.items()}
    assert "match no tensor" not in said


def test_the_new_name_comes_first(quantised, source, matrix, tmp_path):
    """Names that change places: the matrix belongs to the model that comes out."""
    options = ["--rename", r"^blk\.0=tmp", "--rename", r"^blk\.1=blk.0", "--rename", "^tmp=blk.1"]
    swapped = {
        name.replace("0.", "9.").replace("1.", "0.").replace("9.", "1."): weights.random_floats(8, 256, seed=i)
        for i, name in enumerate(NAMES)
    }
    other = weights.write_safetensors(tmp_path / "other.safetensors", swapped)
    expected, _ = quantised(other, "--imatrix", matrix)
    found, _ = quantised(source, *options, "--imatrix", matrix)
    assert found == expected


def test_parts_are_weighed_by_the_whole(quantised, source, matrix):
    expected, _ = quantised(source, "--imatrix", matrix)
    found, said = quantised(source, "--split", "blk.{}.attn_q=blk.{}.a:3,blk.{}.b:5", "--imatrix", matrix)
    for layer in (0, 1):
        assert found[f"blk.{layer}.a"] + found[f"blk.{layer}.b"] == expected[f"blk.{layer}.attn_q"]
    assert "match no tensor" not in said


def test_what_is_joined_is_weighed_by_its_own_entry_or_its_first_parts(quantised, source, tmp_path):
    one, two = (np.random.default_rng(i).exponential(size=256).astype("f4") + 0.01 for i in (1, 2))
    join = ["--concat", "blk.{}.both=blk.{}.attn_q,blk.{}.ffn_up"]
    same = write_imatrix(tmp_path / "same.gguf", {name: (one, [1]) for name in NAMES})
    first = write_imatrix(tmp_path / "first.gguf", {n: (one if "attn" in n else two, [1]) for n in NAMES})
    own = write_imatrix(tmp_path / "own.gguf", {f"blk.{i}.both": (one, [1]) for i in (0, 1)})
    apart, _ = quantised(source, "--imatrix", same)
    expected = {f"blk.{i}.both": apart[f"blk.{i}.attn_q"] + apart[f"blk.{i}.ffn_up"] for i in (0, 1)}
    for file in (same, first, own):
        found, said = quantised(source, *join, "--imatrix", file)
        assert found == expected
        assert "match no tensor" not in said
