"""headrace extract: one component of an all-in-one checkpoint or a pipeline."""

import json

import pytest
import weights
from folders_test import PIPELINE, pipeline  # noqa: F401  (a fixture)
from gguf_files import read_gguf
from streams_test import convert_stream

OPTIONS = {
    "vae": "--vae",
    "diffusion_model": "--diffusion-model",
    "clip_l": "--clip-l",
    "clip_g": "--clip-g",
    "t5xxl": "--t5xxl",
}
# Where the components of pipelines lie, by the folder's own names and by those of other tools.
FOLDERS = {
    "vae": "vae", "transformer": "transformer", "diffusion_model": "transformer", "text_encoder": "text_encoder",
    "clip_l": "text_encoder", "text_encoder_2": "text_encoder_2", "clip_g": "text_encoder_2",
    "text_encoder_3": "text_encoder_3", "t5xxl": "text_encoder_3",
}  # fmt: skip


def write_component(path, *names, seed=1):
    tensors = {name: weights.random_floats(4, 32, seed=seed + i) for i, name in enumerate(names)}
    return weights.write_safetensors(path, tensors)


@pytest.fixture
def components(tmp_path):
    """{component: its own file}."""
    return {
        name: write_component(tmp_path / f"{name}.safetensors", "weight", f"own.{name}", "deep.er.bias", seed=10 * i)
        for i, name in enumerate(OPTIONS)
    }


@pytest.fixture
def extracted(headrace, output):
    def extract(source, component, *options, name="part.safetensors"):
        path = output / name
        result = headrace("extract", source, "--component", component, "-o", path, "--force", *options)
        assert result.returncode == 0, result.stderr
        return weights.read_safetensors(path)

    return extract


@pytest.mark.parametrize("suffix", ["safetensors", "gguf"])
def test_what_was_put_in_comes_out(headrace, components, extracted, tmp_path, suffix):
    whole = tmp_path / f"all.{suffix}"
    inputs = [part for name, path in components.items() for part in (OPTIONS[name], path)]
    assert headrace("convert", *inputs, "-o", whole).returncode == 0
    for name, path in components.items():
        assert extracted(whole, name) == weights.read_safetensors(path)
        assert headrace("verify", path, tmp_path / "out/part.safetensors").returncode == 0


def test_to_gguf(headrace, components, tmp_path, output):
    inputs = [part for name, path in components.items() for part in (OPTIONS[name], path)]
    assert headrace("convert", *inputs, "-o", tmp_path / "all.safetensors").returncode == 0
    result = headrace("extract", tmp_path / "all.safetensors", "--component", "t5xxl", "-o", output / "t5.gguf")
    assert result.returncode == 0, result.stderr
    assert read_gguf(output / "t5.gguf") == weights.read_safetensors(components["t5xxl"])


def test_every_tensor_keeps_its_bytes(headrace, extracted, components, tmp_path):
    """Those of blocks, too."""
    whole, part, alone = tmp_path / "all.gguf", tmp_path / "part.gguf", tmp_path / "alone.gguf"
    inputs = ["--vae", components["vae"], "--clip-l", components["clip_l"], "--type", "q8_0"]
    assert headrace("convert", *inputs, "-o", whole).returncode == 0
    assert headrace("convert", components["vae"], "-o", alone, "--type", "q8_0").returncode == 0
    assert headrace("extract", "-m", whole, "--component", "vae", "-o", part).returncode == 0
    assert read_gguf(part) == read_gguf(alone)


# As their authors published them.
SD1 = {
    "clip_l": "cond_stage_model.transformer.",
    "vae": "first_stage_model.",
    "diffusion_model": "model.diffusion_model.",
}
SDXL = {
    "clip_l": "conditioner.embedders.0.transformer.",
    "clip_g": "conditioner.embedders.1.model.",
    "vae": "first_stage_model.",
    "diffusion_model": "model.diffusion_model.",
}


@pytest.mark.parametrize("prefixes", [SD1, SDXL])
def test_from_an_original_checkpoint(extracted, tmp_path, prefixes):
    names = {name: [prefix + "a.weight", prefix + "b.weight"] for name, prefix in prefixes.items()}
    others = ["model_ema.decay", "alphas_cumprod", prefixes["vae"][:-1] + "x.weight"]
    source = write_component(tmp_path / "sd.safetensors", *others, *(n for parts in names.values() for n in parts))
    tensors = weights.read_safetensors(source)
    for name, prefix in prefixes.items():
        assert extracted(source, name) == {n.removeprefix(prefix): tensors[n] for n in names[name]}
    assert list(extracted(source, "model_ema")) == list(extracted(source, "model_ema.")) == ["decay"]


@pytest.mark.parametrize("component", FOLDERS)
def test_from_a_pipeline(extracted, pipeline, headrace, output, component):  # noqa: F811
    folder, _ = pipeline
    found = extracted(folder, component)
    own = folder / FOLDERS[component]
    assert headrace("convert", own, "-o", output / "own.safetensors").returncode == 0
    assert found == weights.read_safetensors(output / "own.safetensors")


def test_from_a_pipeline_with_a_unet(extracted, tmp_path):
    folder = tmp_path / "sd"
    for part in ("unet", "vae"):
        (folder / part).mkdir(parents=True)
        write_component(folder / part / "diffusion_pytorch_model.safetensors", f"{part}.a", seed=ord(part[0]))
    parts = {name: PIPELINE[name] for name in ("_class_name", "vae")} | {"unet": ["diffusers", "UNet2DConditionModel"]}
    (folder / "model_index.json").write_text(json.dumps(parts))
    own = weights.read_safetensors(folder / "unet/diffusion_pytorch_model.safetensors")
    assert extracted(folder, "diffusion_model") == own
    assert extracted(folder, "unet") == own


def test_from_a_stream(binary, headrace, components, tmp_path, output):
    whole = tmp_path / "all.safetensors"
    inputs = ["--clip-l", components["clip_l"], "--vae", components["vae"], "--t5xxl", components["t5xxl"]]
    assert headrace("convert", *inputs, "-o", whole).returncode == 0
    with open(whole, "rb") as stream:
        result = headrace("extract", "-", "--component", "vae", "-o", output / "v.safetensors", stdin=stream)
    assert result.returncode == 0, result.stderr
    assert weights.read_safetensors(output / "v.safetensors") == weights.read_safetensors(components["vae"])
    # As --strip-prefix and --select do it.
    options = ["--select", r"^vae\.", "--strip-prefix", "vae."]
    result = convert_stream(binary, whole.read_bytes(), "-o", output / "w.safetensors", *options)
    assert result.returncode == 0, result.stderr
    assert (output / "w.safetensors").read_bytes() == (output / "v.safetensors").read_bytes()


def test_recorded_shapes_come_along(headrace, extracted, tmp_path):
    tensors = {"a": weights.random_floats(2, 3, 2, 5, 8), "b": weights.np.asarray(1, "f4")}
    source = weights.write_safetensors(tmp_path / "v.safetensors", tensors)
    assert headrace("convert", "--vae", source, "-o", tmp_path / "all.gguf").returncode == 0
    assert extracted(tmp_path / "all.gguf", "vae") == weights.read_safetensors(source)


def test_shards_and_a_plan(headrace, components, tmp_path, output):
    whole = tmp_path / "all.safetensors"
    inputs = ["--clip-l", components["clip_l"], "--vae", components["vae"]]
    assert headrace("convert", *inputs, "-o", whole).returncode == 0
    command = ["extract", whole, "--component", "vae", "-o", output / "v.safetensors", "--shard-size", "1100"]
    plan = json.loads(headrace(*command, "--dry-run", "--json").stdout)
    assert [t["name"] for t in plan["tensors"]] == ["weight", "own.vae", "deep.er.bias"]
    assert [(t["why"], t["name"].startswith("text_encoders.")) for t in plan["dropped"]] == [
        ("--component vae", True)
    ] * 3
    assert list(output.iterdir()) == []
    assert headrace(*command).returncode == 0
    assert len(list(output.glob("v-0000?-of-00002.safetensors"))) == 2


@pytest.mark.parametrize(
    "component, prefixes",
    [
        ("vae", ["'vae.'", "'first_stage_model.'"]),
        ("diffusion_model", ["'model.diffusion_model.'", "'diffusion_model.'"]),
        ("clip_l", ["'text_encoders.clip_l.transformer.'", "'cond_stage_model.transformer.'"]),
        ("t5xxl", ["'text_encoders.t5xxl.transformer.'"]),
        ("text_encoder", ["'text_encoder.'"]),
        ("tokenizer", ["'tokenizer.'"]),
        ("lora", ["'lora.'"]),
        ("wei", ["'wei.'"]),
    ],
)
def test_a_component_that_isnt_there(headrace, tmp_path, output, component, prefixes):
    source = write_component(tmp_path / "m.safetensors", "weight", "vae")
    result = headrace("extract", source, "--component", component, "-o", output / "o.safetensors")
    assert result.returncode == 2
    assert f"{source}: there is no component '{component}' here" in result.stderr
    for prefix in prefixes:
        assert result.stderr.count(prefix) == 1
    assert list(output.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["MODEL", "-o", "o.safetensors"], ["which component", "--component"]),
        (["MODEL", "--component", "", "-o", "o.safetensors"], ["which component"]),
        (["--component", "vae", "-o", "o.safetensors"], ["no input file"]),
        (["MODEL", "--component", "vae"], ["-o FILE"]),
        (["MODEL", "MODEL", "--component", "vae", "-o", "o.safetensors"], ["not expected"]),
        (["MODEL", "--component", "vae", "-o", "o.safetensors", "--type", "f16"], ["--type"]),
    ],
)
def test_wrong_usage(headrace, model, arguments, words):
    result = headrace("extract", *[model if a == "MODEL" else a for a in arguments])
    assert result.returncode == 2
    for word in words:
        assert word in result.stderr


def test_its_notes_name_no_option_that_it_lacks(headrace, components, tmp_path, output):
    whole = tmp_path / "all.safetensors"
    inputs = ["--clip-l", components["clip_l"], "--vae", components["vae"]]
    assert headrace("convert", *inputs, "-o", whole).returncode == 0
    result = headrace("extract", whole, "--component", "vae", "-o", output / "v.safetensors")
    assert "left out: 3 tensors" in result.stderr
    if "--explain" in result.stderr:
        options = ["--component", "vae", "-o", output / "w.safetensors", "--explain", "own.vae"]
        assert headrace("extract", whole, *options).returncode == 0
