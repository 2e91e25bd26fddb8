"""--shard-size, headrace split and headrace merge: one checkpoint in many files."""

import json
import os

import gguf
import pytest
import weights
from safetensors import safe_open


@pytest.fixture
def source(tmp_path):
    """12 tensors of 4 KiB and two small ones."""
    tensors = {f"t.{i}": weights.random_floats(32, 32, seed=i) for i in range(12)}
    tensors |= {"é\"\\": weights.random_floats(32, seed=20), "tiny": weights.random_floats(1, seed=21)}
    return weights.write_safetensors(tmp_path / "source.safetensors", tensors, {"general.name": "split me"})


def test_safetensors_shards_and_their_index(headrace, source, output):
    result = headrace("split", source, "-o", output / "m.safetensors", "--shard-size", "16KiB")
    assert result.returncode == 0, result.stderr
    index = json.loads((output / "m.safetensors.index.json").read_text())
    whole = weights.read_safetensors(source)
    assert index["metadata"]["total_size"] == sum(len(data) for _, _, data in whole.values())
    assert sorted(index["weight_map"]) == sorted(whole)
    files = sorted(set(index["weight_map"].values()))
    assert files == [f"m-{i:05}-of-00004.safetensors" for i in range(1, 5)]
    assert sorted(os.listdir(output)) == sorted([*files, "m.safetensors.index.json"])
    for file in files:
        tensors = weights.read_safetensors(output / file)
        assert tensors == {name: whole[name] for name, f in index["weight_map"].items() if f == file}
        assert sum(len(data) for _, _, data in tensors.values()) <= 16384
        with safe_open(output / file, "np") as other:  # others read it too
            assert other.metadata() == {"general.name": "split me"}


def test_merging_gives_the_file_back(headrace, source, output):
    parts, merged = output / "m.safetensors", output / "merged.safetensors"
    assert headrace("split", source, "-o", parts, "--shard-size", "10KiB").returncode == 0
    result = headrace("merge", output / "m.safetensors.index.json", "-o", merged)
    assert result.returncode == 0, result.stderr
    assert weights.read_safetensors(merged) == weights.read_safetensors(source)
    assert headrace("verify", source, merged).returncode == 0


def test_split_gguf(headrace, source, output):
    whole, merged = output / "whole.gguf", output / "merged.gguf"
    assert headrace("convert", source, "-o", whole, "--type", "q8_0").returncode == 0
    result = headrace("split", whole, "-o", output / "m.gguf", "--shard-size", "5000")
    assert result.returncode == 0, result.stderr
    parts = sorted(f for f in os.listdir(output) if f.startswith("m-"))
    assert parts == [f"m-{i:05}-of-{len(parts):05}.gguf" for i in range(1, len(parts) + 1)] and len(parts) > 2
    names = []
    for i, part in enumerate(parts):
        reader = gguf.GGUFReader(output / part)
        numbers = [reader.fields[key].parts[-1][0] for key in ("split.no", "split.count", "split.tensors.count")]
        assert numbers == [i, len(parts), 14]
        assert reader.fields["split.no"].types == [gguf.GGUFValueType.UINT16]
        assert reader.fields["split.tensors.count"].types == [gguf.GGUFValueType.INT32]
        assert ("general.name" in reader.fields) == (i == 0)
        names += [tensor.name for tensor in reader.tensors]
    assert names == [tensor.name for tensor in gguf.GGUFReader(whole).tensors]
    for part in (parts[0], parts[-1]):  # any part stands for all
        result = headrace("merge", output / part, "-o", merged, "--force")
        assert result.returncode == 0, result.stderr
        assert merged.read_bytes() == whole.read_bytes()


def test_types_change_on_the_way(headrace, source, output):
    one, many = output / "one.gguf", output / "many.gguf"
    assert headrace("convert", source, "-o", one, "--type", "q4_0").returncode == 0
    assert headrace("convert", source, "-o", many, "--type", "q4_0", "--shard-size", "2KiB").returncode == 0
    first = next(f for f in sorted(os.listdir(output)) if f.startswith("many-"))
    result = headrace("verify", one, output / first, "--max-rmse", "0")
    assert result.returncode == 0, result.stdout


def test_one_shard_is_just_the_file(headrace, source, output):
    assert headrace("split", source, "-o", output / "m.safetensors", "--shard-size", "5GB").returncode == 0
    assert os.listdir(output) == ["m.safetensors"]
    assert weights.read_safetensors(output / "m.safetensors") == weights.read_safetensors(source)


def test_a_large_tensor_has_a_file_of_its_own(headrace, source, output):
    assert headrace("split", source, "-o", output / "m.safetensors", "--shard-size", "1").returncode == 0
    assert len(os.listdir(output)) == 14 + 1


@pytest.mark.parametrize("kind", ["safetensors", "gguf"])
def test_a_set_never_replaces_another(headrace, source, output, kind):
    out = output / f"m.{kind}"
    assert headrace("convert", source, "-o", out, "--shard-size", "16KiB").returncode == 0
    before = {file: (output / file).read_bytes() for file in os.listdir(output)}
    for force in ([], ["--force"]):
        result = headrace("convert", source, "-o", out, "--shard-size", "16KiB", *force)
        assert result.returncode == 1
        assert "never replaces another" in result.stderr
        assert {file: (output / file).read_bytes() for file in os.listdir(output)} == before


def test_a_lone_leftover_is_not_mixed_in(headrace, source, output):
    (output / "m.safetensors.index.json").write_text("{}")
    arguments = ["convert", source, "-o", output / "m.safetensors", "--shard-size", "16KiB"]
    result = headrace(*arguments)
    assert result.returncode == 1
    assert "never replaces another" in result.stderr
    assert os.listdir(output) == ["m.safetensors.index.json"]
    for force in ([], ["--force"]):  # a plan has said so
        index = output / "m.safetensors.index.json"
        assert f"note: '{index}' exists: a set" in headrace(*arguments, *force, "--dry-run").stdout
    index.unlink()
    index.symlink_to("nowhere")  # which is there too
    assert headrace(*arguments).returncode == 1
    assert f"note: '{index}' exists: a set" in headrace(*arguments, "--dry-run").stdout


def test_the_index_of_an_input_is_no_output(headrace, source, output):
    assert headrace("split", source, "-o", output / "m.safetensors", "--shard-size", "16KiB").returncode == 0
    index = output / "m.safetensors.index.json"
    arguments = ["split", index, "-o", output / "m.safetensors", "--shard-size", "8KiB", "--force"]  # other shards
    result = headrace(*arguments)
    assert result.returncode == 1
    assert "the output is an input" in result.stderr and str(index) in result.stderr
    assert f"note: '{index}' is an input" in headrace(*arguments, "--dry-run").stdout


def test_an_index_is_in_the_way_of_shards_of_safetensors_alone(headrace, source, output):
    for name, *options in (["a.gguf", "--shard-size", "16KiB"], ["b.safetensors"], ["c.safetensors", "--shard-size", "5GB"]):
        (output / f"{name}.index.json").write_text("{}")
        arguments = ["convert", source, "-o", output / name, *options]
        assert "exists" not in headrace(*arguments, "--dry-run").stdout
        assert headrace(*arguments).returncode == 0


@pytest.mark.parametrize("size", ["", "0", "many", "-1"])
def test_sizes_that_are_none(headrace, source, output, size):
    result = headrace("split", source, "-o", output / "m.safetensors", "--shard-size", size)
    assert result.returncode == 2
    assert "--shard-size" in result.stderr


def test_split_needs_a_size(headrace, source, output):
    result = headrace("split", source, "-o", output / "m.safetensors")
    assert result.returncode == 2
    assert "--shard-size" in result.stderr


def test_dry_run_tells_the_files(headrace, source, output):
    result = headrace("split", source, "-o", output / "m.gguf", "--shard-size", "16KiB", "--dry-run", "--json")
    assert result.returncode == 0, result.stderr
    plan = json.loads(result.stdout)
    assert plan["files"] == [str(output / f"m-{i:05}-of-00004.gguf") for i in range(1, 5)]
    assert {tensor["file_index"] for tensor in plan["tensors"]} == {0, 1, 2, 3}
    assert os.listdir(output) == []


def test_several_inputs_become_one(headrace, source, tmp_path, output):
    other = weights.write_safetensors(tmp_path / "other.safetensors", {"x": weights.random_floats(3)})
    result = headrace("merge", source, other, "-o", output / "m.safetensors")
    assert result.returncode == 0, result.stderr
    assert "x" in weights.read_safetensors(output / "m.safetensors")
    result = headrace("merge", source, source, "-o", output / "n.safetensors")
    assert result.returncode == 1
    assert "both have it" in result.stderr


def test_a_full_disk_leaves_nothing(headrace, source, output):
    # More than any disk has, found before the first byte.
    huge = weights.write_sparse_safetensors(source.with_name("h.safetensors"), {
        f"t.{i}": ("F32", (1 << 20, 1 << 14)) for i in range(64)
    })  # fmt: skip
    result = headrace("split", huge, "-o", output / "m.safetensors", "--shard-size", "70GB")
    assert result.returncode == 1
    assert os.listdir(output) == []
