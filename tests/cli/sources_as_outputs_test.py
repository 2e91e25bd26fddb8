"""Sources that are no plain files are protected like others, compared by what they say, and keep their secrets."""

import json
import subprocess

import numpy as np
import pytest
import weights


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(64, dtype=np.float32).reshape(2, 32))
    return path


def manifest(folder, scale):
    folder.mkdir()
    (folder / "w.bin").write_bytes(bytes(range(32)))
    entry = {"name": "k", "shape": [32], "dtype": "float32", "quantization": {"dtype": "uint8", "scale": scale, "min": 0}}
    path = folder / "model.json"
    path.write_text(json.dumps({"weightsManifest": [{"paths": ["w.bin"], "weights": [entry]}]}))
    return path


def test_an_archive_is_not_replaced_by_what_is_made_of_it(headrace, archive):
    before = archive.read_bytes()
    result = headrace("convert", archive, "-o", archive, "--to", "safetensors", "--force")
    assert result.returncode == 1
    assert "the output is an input" in result.stderr
    assert archive.read_bytes() == before


def test_nor_through_a_link(headrace, archive, tmp_path):
    link = tmp_path / "link.safetensors"
    link.symlink_to(archive)
    before = archive.read_bytes()
    assert headrace("convert", archive, "-o", link, "--force").returncode == 1
    assert archive.read_bytes() == before


def test_nor_a_manifest(headrace, tmp_path):
    path = manifest(tmp_path / "m", 1.0)
    before = path.read_bytes()
    for victim in (path, tmp_path / "m" / "w.bin"):
        result = headrace("convert", path, "-o", victim, "--to", "gguf", "--force")
        assert result.returncode == 1
        assert "the output is an input" in result.stderr
    assert path.read_bytes() == before


def safetensors_set(folder, count=3):
    """Shards and an index as transformers leaves them."""
    folder.mkdir(parents=True)
    names = [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]
    for i, name in enumerate(names):
        weights.write_safetensors(folder / name, {f"t{i}": weights.random_floats(4, 8, seed=i)})
    index = {"metadata": {}, "weight_map": {f"t{i}": name for i, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def pipeline(folder):
    safetensors_set(folder / "transformer")
    (folder / "vae").mkdir()
    weights.write_safetensors(folder / "vae" / "model.safetensors", {"v": weights.random_floats(2, 8)})
    parts = {"transformer": ["diffusers", "FluxTransformer2DModel"], "vae": ["diffusers", "AutoencoderKL"]}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"} | parts))


def tfjs_model(folder):
    """Two groups, the first of them in three files, of which tensors take parts."""
    folder.mkdir()
    weight = {"name": "k", "shape": [24], "dtype": "float32"}
    other = {"name": "other", "shape": [4], "dtype": "int32"}
    for i, size in enumerate([32, 32, 32, 16]):
        (folder / f"group1-shard{i}of4.bin").write_bytes(bytes(size))
    files = [f"group1-shard{i}of4.bin" for i in range(4)]
    groups = [{"paths": files[:3], "weights": [weight]}, {"paths": files[3:], "weights": [other]}]
    (folder / "model.json").write_text(json.dumps({"weightsManifest": groups}))


def split_gguf(headrace, folder):
    folder.mkdir()
    whole = weights.write_safetensors(folder.parent / "w.safetensors", {f"t{i}": weights.random_floats(64) for i in range(4)})
    assert headrace("split", whole, "-o", folder / "m.gguf", "--shard-size", "256").returncode == 0


@pytest.mark.parametrize("kind", ["set", "pipeline", "tfjs", "tfjs folder", "split", "archive in a folder"])
def test_nothing_that_was_read_is_replaced(headrace, tmp_path, kind):
    folder = tmp_path / "in"
    source = folder
    if kind == "set":
        safetensors_set(folder)
    elif kind == "pipeline":
        pipeline(folder)
    elif kind == "split":
        split_gguf(headrace, folder)
        source = folder / "m-00002-of-00004.gguf"
    elif kind == "archive in a folder":
        folder.mkdir()
        np.savez_compressed(folder / "a.npz", x=np.arange(64, dtype=np.float32))
    else:
        tfjs_model(folder)
        source = folder if kind == "tfjs folder" else folder / "model.json"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for victim in before:
        link = tmp_path / f"to-{victim.name}"
        link.symlink_to(victim)
        for output in (victim, link):
            arguments = ["convert", source, "-o", output, "--to", "gguf", "--force"]
            result = headrace(*arguments)
            assert result.returncode == 1, output
            assert "the output is an input" in result.stderr
            result = headrace(*arguments, "--dry-run")
            assert result.returncode == 0, result.stderr
            assert f"note: '{output}' is an input" in result.stdout
        link.unlink()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_only_lies_beside_may_be_replaced(headrace, tmp_path):
    folder = tmp_path / "in"
    safetensors_set(folder)
    (folder / "notes.gguf").write_text("old")
    arguments = ["convert", folder / "model.safetensors.index.json", "-o", folder / "notes.gguf", "--force"]
    assert "notes.gguf'" not in headrace(*arguments, "--dry-run").stdout
    assert headrace(*arguments).returncode == 0
    assert (folder / "notes.gguf").read_bytes()[:4] == b"GGUF"


def test_a_plan_says_that_the_output_is_the_standard_input(binary, model):
    with open(model, "rb") as source:
        result = subprocess.run(
            [binary, "convert", "-", "-o", model, "--force", "--dry-run"], stdin=source, capture_output=True, text=True
        )
    assert f"note: '{model}' is an input" in result.stdout


def test_a_folder_is_no_output(headrace, model, output):
    for force in ([], ["--force"]):
        arguments = ["convert", model, "-o", output, "--to", "gguf", *force]
        assert "no regular file" in headrace(*arguments).stderr
        assert "no regular file" in headrace(*arguments, "--dry-run").stdout


def test_equal_bytes_under_different_manifests_are_not_the_same(headrace, tmp_path):
    a, b = manifest(tmp_path / "a", 1.0), manifest(tmp_path / "b", 2.0)
    result = headrace("verify", a, b, "--max-rmse", "0")
    assert result.returncode == 1
    assert "identical files" not in result.stdout
    assert headrace("verify", a, a, "--max-rmse", "0").returncode == 0


def test_verify_checks_checksums(headrace, archive, tmp_path):
    other = tmp_path / "o.safetensors"
    assert headrace("convert", archive, "-o", other).returncode == 0
    content = bytearray(archive.read_bytes())
    content[content.index(np.float32(40).tobytes())] ^= 1
    archive.write_bytes(content)
    result = headrace("verify", other, archive)
    assert result.returncode == 1
    assert "checksum" in result.stderr


def test_a_plan_keeps_the_secrets_of_a_url(headrace, tmp_path, binary):
    # Nobody listens there: errors and plans alike must not repeat what is between "//" and "@".
    result = headrace("inspect", "http://user:s3cret@127.0.0.1:9/x.safetensors", "--json")
    assert result.returncode == 1
    assert "s3cret" not in result.stdout + result.stderr


def test_parts_of_a_gguf_can_be_read_back_whatever_the_name(headrace, tmp_path, output):
    source = weights.write_safetensors(tmp_path / "s.safetensors", {f"t{i}": weights.random_floats(64) for i in range(8)})
    for name in ("M.GGUF", "weights.bin"):
        result = headrace("convert", source, "-o", output / name, "--to", "gguf", "--shard-size", "600")
        assert result.returncode == 0, result.stderr
    for first in sorted(output.glob("*-00001-of-*")):
        result = headrace("inspect", first, "--json")
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["tensor_count"] == 8
