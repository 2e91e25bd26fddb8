"""headrace convert with several inputs: stable-diffusion.cpp's options, --component, and names claimed twice."""

import json

import pytest
import weights

PREFIXES = {
    "--clip-l": "text_encoders.clip_l.transformer.",
    "--clip_l": "text_encoders.clip_l.transformer.",
    "--clip-g": "text_encoders.clip_g.transformer.",
    "--clip_g": "text_encoders.clip_g.transformer.",
    "--t5xxl": "text_encoders.t5xxl.transformer.",
    "--diffusion-model": "model.diffusion_model.",
    "--diffusion_model": "model.diffusion_model.",
    "--vae": "vae.",
}


@pytest.fixture
def part(tmp_path):
    """Makes a checkpoint of the given names."""

    def make(file, *names):
        tensors = {name: weights.random_floats(2, 32, seed=i) for i, name in enumerate(names)}
        return weights.write_safetensors(tmp_path / file, tensors)

    return make


def names_in(path):
    return list(weights.read_safetensors(path))


@pytest.mark.parametrize("option", PREFIXES)
def test_each_component_gets_its_prefix(headrace, part, output, option):
    path = output / "all.safetensors"
    prefix = PREFIXES[option]
    result = headrace("convert", option, part("p.safetensors", "a", prefix + "b"), "-o", path)
    assert result.returncode == 0, result.stderr
    assert sorted(names_in(path)) == sorted([prefix + "a", prefix + "b"])


def test_all_in_one(headrace, part, output):
    path = output / "all.safetensors"
    result = headrace(
        "convert", "-m", part("m.safetensors", "model.x"), "--vae", part("v.safetensors", "a"),
        "--diffusion-model", part("d.safetensors", "a"), "--clip-l", part("l.safetensors", "a"),
        "--clip_g", part("g.safetensors", "a"), "--t5xxl", part("t.safetensors", "a"),
        "--component", f"lora.={part('1.safetensors', 'a')}", "--component", f"={part('2.safetensors', 'a=b')}",
        "-o", path, "--json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    prefixes = [i["prefix"] for i in report["inputs"]]
    clip_l, clip_g, t5xxl = (PREFIXES[o] for o in ["--clip-l", "--clip-g", "--t5xxl"])
    assert prefixes == ["", clip_l, clip_g, t5xxl, "model.diffusion_model.", "vae.", "lora.", ""]
    assert names_in(path) == ["model.x", *(p + "a" for p in prefixes[1:7]), "a=b"]


def test_dry_run_names_the_inputs(headrace, part, output):
    a, b = part("a.safetensors", "x"), part("b.safetensors", "y")
    arguments = ["convert", a, "--vae", b, "-o", output / "o.gguf", "--dry-run"]
    text = headrace(*arguments).stdout
    assert f"input    {a}, safetensors\n" in text
    assert f"input    {b}, safetensors, prefix 'vae.'\n" in text
    plan = json.loads(headrace(*arguments, "--json").stdout)
    assert [(t["name"], t["input"], t["source_name"]) for t in plan["tensors"]] == [("x", 0, "x"), ("vae.y", 1, "y")]


def test_a_name_claimed_twice_names_both_files(headrace, part, output):
    a, b = part("a.safetensors", "x", "vae.y"), part("b.safetensors", "y")
    result = headrace("convert", a, "--vae", b, "-o", output / "o.gguf")
    assert result.returncode == 1
    assert "tensor 'vae.y'" in result.stderr and str(a) in result.stderr and str(b) in result.stderr
    assert "--component" in result.stderr
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("value", ["file.safetensors", "vae.=", ""])
def test_a_component_needs_a_prefix_and_a_file(headrace, output, value):
    result = headrace("convert", "--component", value, "-o", output / "o.gguf")
    assert result.returncode == 2
    assert "PREFIX=FILE" in result.stderr


def test_a_broken_part_is_named(headrace, part, output, tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nonsense" * 4)
    result = headrace("convert", part("a.safetensors", "x"), "--vae", broken, "-o", output / "o.gguf")
    assert result.returncode == 1
    assert str(broken) in result.stderr
    assert list(output.iterdir()) == []
