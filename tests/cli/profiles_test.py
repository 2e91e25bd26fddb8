"""headrace convert --for: what profiles refuse, and whose word counts."""

import json

import gguf
import numpy as np
import pytest
import weights

FLUX = "double_blocks.0.img_attn.proj.weight"


@pytest.fixture
def convert(headrace, output):
    """Converts to out/out.gguf, or another name, and gives the result."""

    def run(*arguments, name="out.gguf"):
        return headrace("convert", *arguments, "-o", output / name, "--json")

    return run


@pytest.fixture
def refused(convert, output):
    """Asserts that a conversion fails with that status, says these words and writes nothing."""

    def check(status, words, *arguments, **options):
        result = convert(*arguments, **options)
        assert result.returncode == status, result.stderr
        for word in words:
            assert word in result.stderr
        assert list(output.iterdir()) == []

    return check


@pytest.fixture
def planned(convert):
    """{tensor: planned tensor}."""

    def ask(*arguments, **options):
        result = convert(*arguments, "--dry-run", **options)
        assert result.returncode == 0, result.stderr
        return {t["name"]: t for t in json.loads(result.stdout)["tensors"]}

    return ask


def write_model(path, *names, shape=(8, 256), metadata=None):
    return weights.write_safetensors(path, {name: weights.random_floats(*shape) for name in names}, metadata)


def architecture_of(path):
    field = gguf.GGUFReader(path).get_field("general.architecture")
    return field and field.contents()


def test_unknown_profiles(refused, model):
    refused(2, ["'nobody' is neither a profile nor a file", "comfyui, llamacpp, sdcpp"], model, "--for", "nobody")


def test_a_skip_list_is_no_second_profile(refused, model):
    refused(2, ["--skip-list sdcpp is --for sdcpp"], model, "--for", "llamacpp", "--skip-list", "sdcpp")


def test_sdcpp_is_its_skip_list(planned, model):
    options = ["--type", "q4_K"]
    assert planned(model, "--for", "sdcpp", *options) == planned(model, "--skip-list", "sdcpp", *options)


@pytest.mark.parametrize(
    "name, words",
    [
        ("transformer_blocks.0.attn.norm_added_k.weight", "names of a Flux model, whose q, k and v are apart"),
        ("transformer_blocks.0.attn.add_q_proj.weight", "names of an SD3 model, whose q, k and v are apart"),
        ("joint_transformer_blocks.3.ff_context.out_projection.weight", "names of an AuraFlow model"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--architecture", "flux"]])
def test_layouts_that_comfyui_refuses(refused, tmp_path, name, words, more):
    refused(1, [f"tensor '{name}'", words], write_model(tmp_path / "m.safetensors", name), "--for", "comfyui", *more)


def test_names_of_no_known_model(refused, model):
    known = "expected qwen_image, flux, sd3, aura, hidream, cosmos, ltxv, hyvid, wan, sdxl, sd1, lumina2"
    refused(2, ["of no model that it knows", known, "--architecture NAME"], model, "--for", "comfyui")


def test_the_caller_says_which_model_it_is(convert, planned, output, tmp_path):
    model = write_model(tmp_path / "m.safetensors", "img_in.weight", "x.weight")
    options = ["--for", "comfyui", "--architecture", "flux", "--type", "q8_0"]
    tensors = planned(model, *options)
    assert {name: t["to"] for name, t in tensors.items()} == {"img_in.weight": "F32", "x.weight": "Q8_0"}
    assert convert(model, *options).returncode == 0
    assert architecture_of(output / "out.gguf") == "flux"


def test_the_caller_knows_better_than_the_names(convert, planned, output, tmp_path):
    model = write_model(tmp_path / "m.safetensors", FLUX, "img_in.weight", "patch_embedding.weight")
    options = ["--for", "comfyui", "--architecture", "wan", "--type", "q8_0"]
    assert [t["to"] for t in planned(model, *options).values()] == ["Q8_0", "Q8_0", "F32"]
    assert convert(model, *options).returncode == 0
    assert architecture_of(output / "out.gguf") == "wan"


@pytest.mark.parametrize("pairs", [[], [("general.architecture", "array", ("string", ["flux"]))]])
def test_a_gguf_that_does_not_say_what_it_is(convert, output, tmp_path, pairs):
    model = weights.write_gguf(tmp_path / "m.gguf", pairs, {FLUX: weights.random_floats(8, 256)})
    assert convert(model, "--for", "comfyui").returncode == 0
    assert architecture_of(output / "out.gguf") == "flux"


def test_a_gguf_that_says_what_it_is(convert, planned, output, tmp_path):
    tensors = {name: weights.random_floats(8, 256) for name in ["img_in.weight", "x.weight"]}
    model = weights.write_gguf(tmp_path / "m.gguf", [("general.architecture", "string", "flux")], tensors)
    options = ["--for", "comfyui", "--type", "q8_0"]
    assert [t["to"] for t in planned(model, *options).values()] == ["F32", "Q8_0"]
    assert convert(model, *options).returncode == 0
    assert architecture_of(output / "out.gguf") == "flux"


@pytest.mark.parametrize("by", ["the caller", "a GGUF"])
def test_a_model_that_the_loader_knows_and_the_profile_does_not(convert, output, tmp_path, by):
    tensors, options = {"x.weight": weights.random_floats(8, 256)}, ["--for", "comfyui", "--type", "q8_0"]
    pairs = [("general.architecture", "string", "qwen_image")]
    if by == "a GGUF":
        model = weights.write_gguf(tmp_path / "m.gguf", pairs, tensors)
    else:
        model = weights.write_safetensors(tmp_path / "m.safetensors", tensors)
        options += ["--architecture", "qwen_image"]
    assert convert(model, *options).returncode == 0
    assert architecture_of(output / "out.gguf") == "qwen_image"


@pytest.mark.parametrize("name", ["pig", "llama", ""])
def test_what_a_gguf_makes_up_is_not_written(convert, output, tmp_path, name):
    """Refused, or called what the names say."""
    pairs = [("general.architecture", "string", name)]
    model = weights.write_gguf(tmp_path / "m.gguf", pairs, {FLUX: weights.random_floats(8, 256)})
    result = convert(model, "--for", "comfyui")
    assert result.returncode == 2 or architecture_of(output / "out.gguf") == "flux"


def test_what_safetensors_make_up_is_not_written(convert, output, tmp_path):
    model = write_model(tmp_path / "m.safetensors", FLUX, metadata={"general.architecture": "pig"})
    result = convert(model, "--for", "comfyui")
    assert result.returncode == 0
    assert 'general.architecture "pig" is replaced by "flux"' in result.stderr
    assert architecture_of(output / "out.gguf") == "flux"


@pytest.mark.parametrize("diffusion_model", ["safetensors", "gguf"])
def test_a_text_encoder_beside_it_does_not_say_what_it_is(convert, output, tmp_path, diffusion_model):
    pairs, tensors = [("general.architecture", "string", "t5")], {"enc.weight": weights.random_floats(8, 256)}
    encoder = weights.write_gguf(tmp_path / "t5.gguf", pairs, tensors)
    model = write_model(tmp_path / "m.safetensors", FLUX)
    if diffusion_model == "gguf":
        pairs = [("general.architecture", "string", "flux")]
        model = weights.write_gguf(tmp_path / "m.gguf", pairs, {FLUX: weights.random_floats(8, 256)})
    result = convert("--t5xxl", encoder, "--diffusion-model", model, "--for", "comfyui")
    assert result.returncode == 0, result.stderr
    assert architecture_of(output / "out.gguf") == "flux"
    assert [t.name for t in gguf.GGUFReader(output / "out.gguf").tensors] == [FLUX]


def test_a_gguf_without_metadata_gets_what_the_loader_expects(convert, output, tmp_path):
    model = weights.write_gguf(tmp_path / "m.gguf", [], {FLUX: weights.random_floats(8, 256)})
    assert convert(model, "--for", "comfyui").returncode == 0
    fields = gguf.GGUFReader(output / "out.gguf").fields
    assert fields["general.file_type"].contents() == 0
    assert fields["general.quantization_version"].contents() == 2


@pytest.mark.parametrize("name", ["comfyui", "llamacpp"])
def test_the_format_of_the_output(refused, tmp_path, name):
    pairs = [("general.architecture", "string", "flux")]
    model = weights.write_gguf(tmp_path / "m.gguf", pairs, {FLUX: weights.random_floats(8, 256)})
    words = [f"--for {name} makes another format", "expected gguf, found safetensors"]
    refused(2, words, model, "--for", name, name="out.safetensors")


def test_llamacpp_needs_a_gguf(refused, model):
    words = ["--for llamacpp doesn't take this format", "expected gguf, found safetensors", "convert_hf_to_gguf.py"]
    refused(2, words, model, "--for", "llamacpp", "--type", "q4_K")


def test_what_llama_quantize_leaves_alone(convert, planned, output, tmp_path):
    kept = {
        "output_norm.weight": (256,), "blk.0.attn_q.bias": (256,), "blk.0.attn_q_norm.weight": (4, 256),
        "blk.0.ffn_gate_inp.weight": (8, 256), "blk.0.exp_probs_b.bias": (8, 256), "blk.0.ssm_a": (4, 256),
        "blk.0.ssm_conv1d.weight": (4, 256), "position_embd.weight": (8, 256), "token_types.weight": (2, 256),
        "blk.0.weigh": (4, 256), "w": (4, 256), "blk.0.weights": (4, 256),
    }  # fmt: skip
    changed = {
        "token_embd.weight": (64, 256), "output.weight": (64, 256), "blk.0.attn_q.weight": (256, 256),
        "blk.0.ffn_gate_exps.weight": (4, 8, 256), "blk.0.ffn_gate.weight": (8, 256), "weight": (2, 256),
        "position.weight": (2, 256), "blk.0.attn_normal.weight": (8, 256),
    }  # fmt: skip
    arrays = {name: weights.random_floats(*shape) for name, shape in (kept | changed).items()}
    arrays["blk.0.ffn_down.weight"] = weights.random_floats(256, 320)
    pairs = [("general.architecture", "string", "llama"), ("llama.block_count", "u32", 1)]
    model = weights.write_gguf(tmp_path / "m.gguf", pairs, arrays)
    options = ["--for", "llamacpp", "--type", "q4_K"]
    types = dict.fromkeys(kept, "F32") | dict.fromkeys(changed, "Q4_K") | {"blk.0.ffn_down.weight": "Q5_0"}
    assert {name: t["to"] for name, t in planned(model, *options).items()} == types

    assert convert(model, *options).returncode == 0
    reader = gguf.GGUFReader(output / "out.gguf")
    assert {t.name: t.tensor_type.name for t in reader.tensors} == types
    for tensor in reader.tensors:
        if tensor.name in kept:
            assert np.array_equal(tensor.data, arrays[tensor.name]), tensor.name
    assert reader.fields["general.architecture"].contents() == "llama"
    assert reader.fields["llama.block_count"].contents() == 1
    assert reader.fields["general.file_type"].contents() == 15


def test_a_matrix_of_one_row_is_a_vector_to_llama_quantize(planned, tmp_path):
    tensors = {"blk.0.a.weight": weights.random_floats(1, 256), "blk.0.b.weight": weights.random_floats(2, 256)}
    model = weights.write_gguf(tmp_path / "m.gguf", [("general.architecture", "string", "llama")], tensors)
    types = [t["to"] for t in planned(model, "--for", "llamacpp", "--type", "q4_K").values()]
    assert types == ["F32", "Q4_K"]


@pytest.mark.parametrize("name, most", [("llamacpp", 63), ("comfyui", 127), ("sdcpp", 127)])
def test_names_that_are_too_long(convert, refused, tmp_path, name, most):
    def model(length):
        tensors = {FLUX: weights.random_floats(8, 256), "x" * length: weights.random_floats(8, 256)}
        return weights.write_gguf(tmp_path / "m.gguf", [("general.architecture", "string", "flux")], tensors)

    words = [f"tensor '{'x' * (most + 1)}'", f"too long for --for {name}", f"at most {most} bytes, found {most + 1}"]
    refused(1, words, model(most + 1), "--for", name)
    assert convert(model(most), "--for", name).returncode == 0


def test_a_rule_overrides_the_profile(planned, tmp_path):
    model = write_model(tmp_path / "m.safetensors", FLUX, "img_in.weight", "txt_in.weight", "x.bias", "y.weight")
    options = ["--for", "comfyui", "--type", "q4_K", "--rule", "^img_in=q8_0", "--rule", "bias=drop", "--rule", "y=f16"]
    tensors = planned(model, *options)
    assert {name: (t["to"], t["why"]) for name, t in tensors.items()} == {
        FLUX: ("Q4_K", "--type Q4_K"),
        "img_in.weight": ("Q8_0", "rule '^img_in=Q8_0'"),
        "txt_in.weight": ("F32", "profile: '^(img_in|txt_in|time_in|vector_in|guidance_in|final_layer)\\. "
                                 "ndim>1 ndim<5 elements>1024=keep'"),
        "y.weight": ("F16", "rule 'y=F16'"),
    }  # fmt: skip


def test_explain_names_the_rule(headrace, tmp_path):
    shapes = {"blocks.0.self_attn.norm_q.weight": (256,), "text_embedding.2.weight": (8, 256),
              "head.modulation": (8, 256), "blocks.0.w.weight": (8, 256)}  # fmt: skip
    arrays = {name: weights.random_floats(*shape) for name, shape in shapes.items()}
    model = weights.write_safetensors(tmp_path / "m.safetensors", arrays)
    for name, why in {
        "blocks.0.self_attn.norm_q.weight": "profile: 'ndim<2=F32'",
        "head.modulation": r"profile: '\.modulation=F32'",
        "blocks.0.w.weight": "--type Q8_0",
    }.items():
        options = ["--for", "comfyui", "--type", "q8_0", "--explain", name]
        result = headrace("convert", model, "-o", "o.gguf", *options)
        assert result.returncode == 0
        assert result.stdout.splitlines()[-1] == f"why      {why}"
        document = json.loads(headrace("convert", model, "-o", "o.gguf", *options, "--json").stdout)
        assert [t["why"] for t in document["tensors"]] == [why]
