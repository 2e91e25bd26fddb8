"""Sources that are no plain files are protected like others, compared by what they say, and keep their secrets."""

import json

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
