"""A folder as the input: a diffusers pipeline, or a model's folder as the libraries leave it."""

import json
import pathlib

import gguf
import numpy as np
import pytest
import safetensors.numpy
import weights

UNET, CLIP_L, CLIP_G = "model.diffusion_model.", "text_encoders.clip_l.transformer.", "text_encoders.clip_g.transformer."
T5 = "text_encoders.t5xxl.transformer."

PIPELINE = {
    "_class_name": "StableDiffusion3Pipeline",
    "_diffusers_version": "0.30.0",
    "feature_extractor": [None, None],
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "text_encoder_3": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "transformer": ["diffusers", "SD3Transformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def save(path, *names, seed=1):
    """The arrays that it wrote."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: weights.random_floats(4, 32, seed=seed + i) for i, name in enumerate(names)}
    safetensors.numpy.save_file(arrays, path, metadata={"format": "pt"})
    return arrays


def converted(headrace, source, path, *options):
    result = headrace("convert", source, "-o", path, *options)
    assert result.returncode == 0, result.stderr
    return safetensors.numpy.load_file(path)


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert np.array_equal(found[name], array), name


def under(prefix, arrays):
    return {prefix + name: array for name, array in arrays.items()}


@pytest.fixture
def pipeline(tmp_path):
    """A folder as diffusers saves it: an index for the transformer, single files else. Its tensors by their names."""
    folder = tmp_path / "sd3"
    folder.mkdir()
    (folder / "model_index.json").write_text(json.dumps(PIPELINE))
    for name, file in {"scheduler": "scheduler_config.json", "tokenizer": "vocab.json"}.items():
        (folder / name).mkdir()
        (folder / name / file).write_text("{}")
    expected = under(CLIP_L, save(folder / "text_encoder/model.safetensors", "a", seed=10))
    expected |= under(CLIP_G, save(folder / "text_encoder_2/model.safetensors", "a", seed=20))
    expected |= under("vae.", save(folder / "vae/diffusion_pytorch_model.safetensors", "a", "b", seed=30))
    for base, component, prefix in [("diffusion_pytorch_model", "transformer", UNET), ("model", "text_encoder_3", T5)]:
        places = {}
        for i in (1, 2):
            file = f"{base}-{i:05}-of-00002.safetensors"
            arrays = save(folder / component / file, f"x{i}", f"y{i}", seed=40 + i)
            places |= dict.fromkeys(arrays, file)
            expected |= under(prefix, arrays)
        text = json.dumps({"metadata": {}, "weight_map": places})
        (folder / component / f"{base}.safetensors.index.json").write_text(text)
    return folder, expected


def test_a_pipeline_becomes_one_file(headrace, pipeline, output):
    folder, expected = pipeline
    assert_same(converted(headrace, folder, output / "all.safetensors"), expected)
    assert_same(converted(headrace, f"{folder}/", output / "slash.safetensors"), expected)


def test_a_pipeline_can_be_inspected(headrace, pipeline):
    folder, expected = pipeline
    report = json.loads(headrace("inspect", folder, "--json").stdout)
    assert {t["name"] for t in report["tensors"]} == set(expected)
    assert headrace("inspect", folder).returncode == 0


def test_a_pipeline_as_gguf(headrace, pipeline, output):
    folder, expected = pipeline
    result = headrace("convert", folder, "-o", output / "all.gguf")
    assert result.returncode == 0, result.stderr
    assert_same({t.name: t.data for t in gguf.GGUFReader(output / "all.gguf").tensors}, expected)


def test_from_inside_the_folder(headrace, pipeline, output):
    folder, expected = pipeline
    result = headrace("convert", ".", "-o", output / "all.safetensors", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert_same(safetensors.numpy.load_file(output / "all.safetensors"), expected)


def test_a_component_of_a_pipeline_alone(headrace, pipeline, output):
    folder, expected = pipeline
    found = converted(headrace, folder / "transformer", output / "t.safetensors")
    assert_same(under(UNET, found), {n: a for n, a in expected.items() if n.startswith(UNET)})
    result = headrace("convert", "--vae", folder / "vae", "--t5xxl", folder / "text_encoder_3", "-o", output / "v.safetensors")
    assert result.returncode == 0, result.stderr
    wanted = {n: a for n, a in expected.items() if n.startswith(("vae.", T5))}
    assert_same(safetensors.numpy.load_file(output / "v.safetensors"), wanted)


def test_a_variant_of_a_pipeline(headrace, pipeline, output):
    folder, expected = pipeline
    half = save(folder / "vae/diffusion_pytorch_model.fp16.safetensors", "a", "b", seed=90)
    assert_same(converted(headrace, folder, output / "full.safetensors"), expected)
    # A component without the variant comes as it is.
    found = converted(headrace, folder, output / "half.safetensors", "--variant", "fp16")
    assert_same(found, expected | under("vae.", half))
    result = headrace("convert", folder, "-o", output / "o.safetensors", "--variant", "bf16")
    assert result.returncode == 2 and "'bf16'" in result.stderr
    (folder / "vae/diffusion_pytorch_model.safetensors").unlink()
    result = headrace("convert", folder, "-o", output / "o.safetensors")
    assert result.returncode == 2 and "--variant fp16" in result.stderr
    assert not (output / "o.safetensors").exists()


@pytest.mark.parametrize(
    "files",
    [
        ["model.fp16.safetensors"],
        ["model.safetensors.index.fp16.json", "model.fp16-00001-of-00001.safetensors"],
        ["model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"],
        ["model-00001-of-00002.fp16.safetensors", "model-00002-of-00002.fp16.safetensors"],
    ],
)
def test_a_variant_of_a_model(headrace, tmp_path, output, files):
    folder = tmp_path / "model"
    plain, half = save(folder / "model.safetensors", "x"), {}
    for file in files:
        if file.endswith(".json"):
            (folder / file).write_text(json.dumps({"weight_map": {files[1]: files[1]}}))
        else:
            half |= save(folder / file, file, seed=9)
    assert_same(converted(headrace, folder, output / "plain.safetensors"), plain)
    assert_same(converted(headrace, folder, output / "half.safetensors", "--variant", "fp16"), half)
    # Of a file that is named, a variant says nothing.
    found = converted(headrace, folder / "model.safetensors", output / "file.safetensors", "--variant", "fp16")
    assert_same(found, plain)


def test_a_pipeline_lacks_a_component(headrace, pipeline, output):
    folder, _ = pipeline
    for path in (folder / "vae").iterdir():
        path.unlink()
    result = headrace("convert", folder, "-o", output / "o.safetensors")
    assert result.returncode == 1
    assert f"{folder / 'vae'}: " in result.stderr and "AutoencoderKL" in result.stderr
    assert list(output.iterdir()) == []


def test_two_components_for_one_place(headrace, pipeline, output):
    folder, _ = pipeline
    (folder / "model_index.json").write_text(json.dumps(PIPELINE | {"unet": ["diffusers", "UNet2DConditionModel"]}))
    result = headrace("convert", folder, "-o", output / "o.safetensors")
    assert result.returncode == 1
    assert "'transformer' and 'unet'" in result.stderr


@pytest.mark.parametrize("name", ["../vae", "/etc", "a/b", ".."])
def test_a_component_is_a_folder_inside(headrace, tmp_path, name):
    (tmp_path / "model_index.json").write_text(json.dumps({name: ["diffusers", "AutoencoderKL"]}))
    result = headrace("inspect", tmp_path)
    assert result.returncode == 1
    assert "no name of a folder" in result.stderr and f"'{name}'" in result.stderr


def test_a_models_folder(headrace, tmp_path, output):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "training_args.bin").write_bytes(b"\x80\2}.")
    result = headrace("inspect", folder)
    assert result.returncode == 1 and "no checkpoint in this folder" in result.stderr and ".gguf" in result.stderr

    weights.write_gguf(folder / "any.gguf", tensors={"g": weights.random_floats(32)})
    assert list(converted(headrace, folder, output / "1.safetensors")) == ["g"]
    save(folder / "other.safetensors", "other")
    assert list(converted(headrace, folder, output / "2.safetensors")) == ["other"]
    save(folder / "another.safetensors", "another")
    result = headrace("inspect", folder)
    assert result.returncode == 2
    assert "'another.safetensors', 'other.safetensors'" in result.stderr and "name the file" in result.stderr
    save(folder / "model.safetensors", "model")
    assert list(converted(headrace, folder, output / "3.safetensors")) == ["model"]
    for i in (1, 2):
        save(folder / f"model-{i:05}-of-00002.safetensors", f"s{i}")
    assert list(converted(headrace, folder, output / "4.safetensors")) == ["model"]
    (folder / "model.safetensors").unlink()
    assert sorted(converted(headrace, folder, output / "5.safetensors")) == ["s1", "s2"]


def test_safetensors_before_pytorch(headrace, tmp_path, output):
    pytest.importorskip("torch.serialization")
    import torch

    folder = tmp_path / "model"
    folder.mkdir()
    torch.save({"t": torch.ones(3)}, folder / "pytorch_model.bin")
    assert list(converted(headrace, folder, output / "1.safetensors")) == ["t"]
    save(folder / "model.safetensors", "s")
    assert list(converted(headrace, folder, output / "2.safetensors")) == ["s"]


def test_tfjs_and_numpy_folders(headrace, tmp_path, output):
    np.savez(tmp_path / "a.npz", x=np.arange(3, dtype=np.float32))
    folder = tmp_path / "npz"
    folder.mkdir()
    (tmp_path / "a.npz").rename(folder / "a.npz")
    assert_same(converted(headrace, folder, output / "npz.safetensors"), {"x": np.arange(3, dtype=np.float32)})
    (folder / "w.bin").write_bytes(np.arange(2, dtype=np.float32).tobytes())
    manifest = {"weightsManifest": [{"paths": ["w.bin"], "weights": [{"name": "k", "shape": [2], "dtype": "float32"}]}]}
    (folder / "model.json").write_text(json.dumps(manifest))
    result = headrace("convert", folder / "model.json", "-o", output / "tfjs.safetensors")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("shards", [1, 3])
def test_a_tfjs_folder_as_its_converter_writes_it(headrace, tmp_path, output, shards):
    folder = tmp_path / "tfjs"
    folder.mkdir()
    data = np.arange(6, dtype=np.float32).tobytes()
    paths = [f"group1-shard{i + 1}of{shards}.bin" for i in range(shards)]
    for i, path in enumerate(paths):
        (folder / path).write_bytes(data[i * 24 // shards : (i + 1) * 24 // shards])
    weights_list = [{"name": "k", "shape": [2, 3], "dtype": "float32"}]
    (folder / "model.json").write_text(json.dumps({"weightsManifest": [{"paths": paths, "weights": weights_list}]}))
    got = converted(headrace, folder, output / "tfjs.safetensors")
    assert_same(got, {"k": np.arange(6, dtype=np.float32).reshape(2, 3)})


def test_a_folder_of_links(headrace, tmp_path, output):
    """The Hugging Face cache: names in a snapshot, bytes elsewhere under names that say nothing."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0123"
    expected = save(blobs / "b1", "x") | save(blobs / "b2", "y", seed=5)
    snapshot.mkdir(parents=True)
    (blobs / "b0").write_text(json.dumps({"weight_map": {"x": "m-1.safetensors", "y": "m-2.safetensors"}}))
    for name, blob in {"model.safetensors.index.json": "b0", "m-1.safetensors": "b1", "m-2.safetensors": "b2"}.items():
        (snapshot / name).symlink_to(pathlib.Path("../../blobs") / blob)
    assert_same(converted(headrace, snapshot, output / "o.safetensors"), expected)
    (blobs / "b2").unlink()
    result = headrace("inspect", snapshot)
    assert result.returncode == 1 and "no 'm-2.safetensors'" in result.stderr


def test_a_folder_that_can_not_be_read(headrace, tmp_path):
    result = headrace("inspect", tmp_path / "none")
    assert result.returncode == 1 and "none" in result.stderr
    (tmp_path / "model_index.json").write_text("{")
    result = headrace("inspect", tmp_path)
    assert result.returncode == 1 and "no valid JSON" in result.stderr
