"""headrace convert --for comfyui: the layouts of published models, as ComfyUI-GGUF's loader wants them."""

import json
import math

import comfyui
import gguf
import layouts
import numpy as np
import pytest
import weights
from narrow_floats import BF16, F8_E4M3

PREFIX = "model.diffusion_model."
WITH_PREFIX = {"ltxv", "sd1", "sd3", "sdxl"}
REARRANGED = {"sd1", "sdxl"}
# What ComfyUI-GGUF keeps in F32 by name.
EXACT = {"hidream": [".ff_i.gate.weight", "img_emb.emb_pos"], "wan": [".modulation"], "ltxv": ["scale_shift_table"]}
# What Headrace leaves alone beside that: the first and last layers, and what takes in time, text and size.
LEFT_ALONE = {
    "flux": ("img_in.", "txt_in.", "time_in.", "vector_in.", "guidance_in.", "final_layer."),
    "hidream": ("x_embedder.", "t_embedder.", "p_embedder.", "final_layer."),
    "ltxv": ("patchify_proj.", "adaln_single.", "caption_projection.", "proj_out."),
    "sd1": ("time_embed.", "input_blocks.0.0.", "out."),
    "sd3": ("pos_embed", "x_embedder.", "t_embedder.", "y_embedder.", "context_embedder.", "final_layer."),
    "sdxl": ("time_embed.", "label_emb.", "input_blocks.0.0.", "out."),
    "wan": ("patch_embedding.", "text_embedding.", "time_embedding.", "time_projection.", "head."),
}
# The relative RMSE that a type may cost.
COSTS = {"F32": 0, "F16": 0, "BF16": 0, "Q8_0": 0.007, "Q4_K": 0.09}


def bare(layout, tensors):
    """Those of the diffusion model, by their names without the prefix."""
    if layout not in WITH_PREFIX:
        return tensors
    return {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}


def expected_type(layout, name, dtype, shape, asked):
    if len(shape) < 2 or len(shape) > 4 or math.prod(shape) <= 1024:
        return "F32"
    if any(part in name for part in EXACT.get(layout, [])):
        return "F32"
    return dtype if name.startswith(LEFT_ALONE[layout]) or not asked else asked


def expected_shape(layout, shape):
    elements = math.prod(shape)
    if layout in REARRANGED and len(shape) > 1 and elements >= 512 and elements % 256 == 0 and shape[-1] % 256 != 0:
        return (elements // 256, 256)
    return shape if len(shape) <= 4 else (math.prod(shape[:-3]), *shape[-3:])


@pytest.fixture
def plan(headrace, tmp_path):
    """The plan of a conversion, as JSON."""

    def ask(model, *options):
        command = ["convert", model, "-o", tmp_path / "plan.gguf", "--for", "comfyui", "--dry-run", "--json", *options]
        result = headrace(*command)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return ask


@pytest.fixture
def convert(headrace, output):
    """Converts for ComfyUI; gives the path of the result."""

    def run(model, *options, name="out.gguf"):
        path = output / name
        result = headrace("convert", model, "-o", path, "--for", "comfyui", "-q", *options)
        assert result.returncode == 0, result.stderr
        return path

    return run


@pytest.mark.parametrize("asked", ["Q4_K", "Q8_0", None])
@pytest.mark.parametrize("layout", layouts.NAMES)
def test_the_plan_of_published_models(plan, tmp_path, layout, asked):
    """Of their full size, up to 34 GB, of which nothing but the header is read."""
    whole = layouts.tensors(layout)
    model = weights.write_sparse_safetensors(tmp_path / "model.safetensors", whole)
    document = plan(model, *(["--type", asked] if asked else []))
    assert f"--for comfyui: the tensors' names are those of {layout}" in document["notes"]
    listed = {t["name"]: t for t in document["tensors"]}
    tensors = bare(layout, whole)
    assert listed.keys() == tensors.keys()
    for name, (dtype, shape) in tensors.items():
        planned = listed[name]
        assert planned["to"] == expected_type(layout, name, dtype, shape, asked), name
        assert tuple(planned["shape"]) == expected_shape(layout, shape), name
        assert tuple(planned["source_shape"]) == shape, name
    others = {name for name in whole if name.removeprefix(PREFIX) not in tensors}
    assert {t["name"] for t in document["dropped"]} == others


def test_the_other_parts_of_a_checkpoint_are_left_out_and_named(headrace, plan, tmp_path):
    model = weights.write_sparse_safetensors(tmp_path / "sd1.safetensors", layouts.tensors("sd1"))
    document = plan(model)
    parts = [t["name"].split(".")[0] for t in document["dropped"]]
    assert (parts.count("first_stage_model"), parts.count("cond_stage_model"), len(parts)) == (248, 197, 445)
    assert {t["why"] for t in document["dropped"]} == {f"--for comfyui takes what begins with '{PREFIX}'"}
    assert any(note.startswith("left out: 445 tensors, the first 'first_stage_model.") for note in document["notes"])
    name = "cond_stage_model.transformer.text_model.embeddings.position_ids"
    result = headrace("convert", model, "-o", "o.gguf", "--for", "comfyui", "--explain", name)
    assert result.returncode == 0
    assert f"left out: --for comfyui takes what begins with '{PREFIX}'" in result.stdout


@pytest.mark.parametrize("asked", ["Q4_K", "Q8_0", None])
@pytest.mark.parametrize("layout", layouts.NAMES)
def test_its_loader_reads_what_was_made(headrace, convert, tmp_path, layout, asked):
    arrays = layouts.small(layout)
    model = weights.write_safetensors(tmp_path / "model.safetensors", arrays)
    path = convert(model, *(["--type", asked] if asked else []))
    architecture, tensors = comfyui.load(path)
    assert architecture == layout
    sources = bare(layout, arrays)
    assert tensors.keys() == sources.keys()
    for name, (kind, shape, numbers) in tensors.items():
        source = sources[name]
        assert shape == source.shape
        assert kind == expected_type(layout, name, weights.NAMES[source.dtype], shape, asked), name
        source = source.astype(np.float32)
        assert np.linalg.norm(numbers - source) <= COSTS[kind] * np.linalg.norm(source), name

    # Headrace's own comparison sees the same shapes.
    diffusion_model = weights.write_safetensors(tmp_path / "bare.safetensors", sources)
    result = headrace("verify", diffusion_model, path, "--json", "--max-rmse", max(COSTS.values()))
    verdict = json.loads(result.stdout)
    assert result.returncode == 0 and verdict["match"]
    assert (verdict["only_in_first"], verdict["only_in_second"], verdict["not_comparable"]) == (0, 0, 0)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("asked", ["q4_K", None])
def test_five_dimensions_become_f32(convert, tmp_path, dtype, asked):
    arrays = layouts.small("wan", dtype)
    model = weights.write_safetensors(tmp_path / "wan.safetensors", arrays)
    _, tensors = comfyui.load(convert(model, *(["--type", asked] if asked else [])))
    kind, shape, numbers = tensors["patch_embedding.weight"]
    assert (kind, shape) == ("F32", (32, 16, 1, 2, 2))
    assert np.array_equal(numbers, arrays["patch_embedding.weight"].astype(np.float32))


def test_which_shapes_are_rearranged(convert, tmp_path):
    """From 512 elements on, where the elements are a multiple of 256 and the row isn't."""
    shapes = {
        "label_emb.0.0.weight": (4, 512), "a": (4, 64), "b": (8, 64), "c": (16, 64), "d": (20, 64), "e": (30, 100),
        "f": (8, 64, 3, 3), "g": (8, 4, 3, 3), "h": (5, 256), "i": (1280,), "j": (3, 5, 20, 64),
    }  # fmt: skip
    arrays = {name: weights.random_floats(*shape) for name, shape in shapes.items()}
    path = convert(weights.write_safetensors(tmp_path / "m.safetensors", arrays), "--type", "q4_K")
    architecture, tensors = comfyui.load(path)
    assert architecture == "sdxl"
    assert {name: shape for name, (_, shape, _) in tensors.items()} == shapes
    assert {name: kind for name, (kind, _, _) in tensors.items()} == {
        "label_emb.0.0.weight": "F32", "a": "F32", "b": "F32", "c": "F32", "d": "Q4_K", "e": "F16",
        "f": "Q4_K", "g": "F32", "h": "Q4_K", "i": "F32", "j": "Q4_K",
    }  # fmt: skip
    listed = {t.name: tuple(t.shape)[::-1] for t in gguf.GGUFReader(path).tensors}
    changed = {name: shape for name, shape in listed.items() if shape != shapes[name]}
    assert changed == {"b": (2, 256), "c": (4, 256), "d": (5, 256), "f": (18, 256), "j": (75, 256)}


def test_shapes_of_other_models_stay(plan, tmp_path):
    arrays = {"double_blocks.0.img_attn.proj.weight": weights.random_floats(8, 256), "a": weights.random_floats(20, 64)}
    document = plan(weights.write_safetensors(tmp_path / "flux.safetensors", arrays))
    assert [t["shape"] for t in document["tensors"]] == [[8, 256], [20, 64]]


def test_the_way_back(headrace, convert, tmp_path):
    """The shapes are as before, and the numbers where the types held them."""
    arrays = layouts.small("sd1")
    model = weights.write_safetensors(tmp_path / "sd1.safetensors", arrays)
    back = tmp_path / "back.safetensors"
    assert headrace("convert", convert(model), "-o", back, "--type", "f16").returncode == 0
    expected = {name: (array.shape, array.tobytes()) for name, array in bare("sd1", arrays).items()}
    assert {name: (shape, data) for name, (_, shape, data) in weights.read_safetensors(back).items()} == expected


def test_a_gguf_made_for_it_is_taken_again(headrace, convert, tmp_path):
    """The same bytes by way of a GGUF for ComfyUI, and the same tensors by way of any other."""
    model = weights.write_safetensors(tmp_path / "sd1.safetensors", layouts.small("sd1"))
    direct = convert(model, "--type", "q4_K")
    again = convert(convert(model, name="whole.gguf"), "--type", "q4_K", name="again.gguf")
    assert again.read_bytes() == direct.read_bytes()
    plain = ["-o", tmp_path / "plain.gguf", "--select", "^model.diffusion_model", "--strip-prefix", PREFIX]
    assert headrace("convert", model, *plain).returncode == 0
    from_plain = convert(tmp_path / "plain.gguf", "--type", "q4_K", name="from_plain.gguf")
    verdict = json.loads(headrace("verify", direct, from_plain, "--json").stdout)
    assert verdict["identical"] == 686 and verdict["metadata_identical"]


def test_the_same_bytes_for_any_threads_and_budget(convert, tmp_path):
    model = weights.write_safetensors(tmp_path / "sdxl.safetensors", layouts.small("sdxl"))
    made = set()
    for threads in [1, 3]:
        for memory in ["16MiB", "256MiB"]:
            path = convert(model, "--type", "q4_K", "-t", threads, "--memory", memory, "--force")
            made.add(path.read_bytes())
    assert len(made) == 1


def test_8_bit_floats_without_a_type_become_f16(convert, tmp_path):
    """But for what is F32 in any case; numbers that GGUF can hold keep their type."""
    numbers = weights.random_floats(8, 256).astype(F8_E4M3)
    arrays = {
        "double_blocks.0.img_attn.proj.weight": numbers, "final_layer.linear.weight": numbers,
        "img_in.bias": numbers[0], "small.weight": numbers[:4], "other.weight": numbers.astype(BF16),
    }  # fmt: skip
    _, tensors = comfyui.load(convert(weights.write_safetensors(tmp_path / "flux.safetensors", arrays)))
    assert {name: kind for name, (kind, _, _) in tensors.items()} == {
        "double_blocks.0.img_attn.proj.weight": "F16", "final_layer.linear.weight": "F16",
        "img_in.bias": "F32", "small.weight": "F32", "other.weight": "BF16",
    }  # fmt: skip
    for name, (_, _, decoded) in tensors.items():
        assert np.array_equal(decoded, arrays[name].astype(np.float32)), name


@pytest.mark.parametrize(
    "architecture, names",
    [
        ("aura", ["double_layers.3.modX.1.weight"]),
        ("cosmos", ["blocks.0.mlp.layer1.weight", "blocks.0.adaln_modulation_cross_attn.1.weight"]),
        ("hyvid", ["double_blocks.0.img_attn_proj.weight",
                   "txt_in.individual_token_refiner.blocks.1.self_attn_qkv.weight"]),
        ("lumina2", ["cap_embedder.1.weight", "context_refiner.0.attention.qkv.weight"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "model.", "net."])
def test_other_models_are_recognised(convert, tmp_path, architecture, names, prefix):
    arrays = {prefix + name: weights.random_floats(8, 256) for name in names}
    path = convert(weights.write_safetensors(tmp_path / "m.safetensors", arrays))
    found, tensors = comfyui.load(path)
    assert found == architecture
    assert sorted(tensors) == sorted(names)


def test_a_prefix_that_not_all_have(headrace, tmp_path):
    """'net.' is taken off where all have it; a model in part under it is none that is known."""
    names = ["net.blocks.0.mlp.layer1.weight", "net.blocks.0.adaln_modulation_cross_attn.1.weight", "other.weight"]
    arrays = {name: weights.random_floats(8, 256) for name in names}
    model = weights.write_safetensors(tmp_path / "m.safetensors", arrays)
    result = headrace("convert", model, "-o", "o.gguf", "--for", "comfyui")
    assert result.returncode == 2
    assert "of no model that it knows" in result.stderr


def test_names_of_cosmos(plan, tmp_path):
    names = ["blocks.0.mlp.layer1.weight", "blocks.0.adaln_modulation_cross_attn.1.weight", "pos_embedder.seq"]
    arrays = {name: weights.random_floats(8, 256) for name in [*names, "blocks.0.x._extra_state", "accum_steps"]}
    document = plan(weights.write_safetensors(tmp_path / "m.safetensors", arrays), "--type", "q8_0")
    assert {t["name"]: t["to"] for t in document["tensors"]} == dict(zip(names, ["Q8_0", "Q8_0", "F32"], strict=True))
    assert sorted(t["name"] for t in document["dropped"]) == ["accum_steps", "blocks.0.x._extra_state"]


def test_layers_of_a_diffusers_model_can_be_joined(headrace, convert, tmp_path):
    """As the refusal says."""
    old, new = "transformer_blocks.0.attn.", "double_blocks.0."
    arrays = {old + f"to_{part}.weight": weights.random_floats(16, 256, seed=i) for i, part in enumerate("qkv")}
    arrays[old + "norm_added_k.weight"] = weights.random_floats(128)
    arrays[old + "to_out.0.weight"] = weights.random_floats(16, 256, seed=7)
    model = weights.write_safetensors(tmp_path / "flux.safetensors", arrays)
    refused = headrace("convert", model, "-o", "o.gguf", "--for", "comfyui")
    assert refused.returncode == 1
    assert "--rename and --concat can make them" in refused.stderr
    qkv = ",".join(f"double_blocks.{{}}.to_{part}.weight" for part in "qkv")
    options = [
        "--rename", r"^transformer_blocks\.(\d+)\.attn\.=double_blocks.\1.",
        "--rename", "norm_added_k.weight=txt_attn.norm.key_norm.scale",
        "--rename", "to_out.0=img_attn.proj",
        "--concat", "double_blocks.{}.img_attn.qkv.weight=" + qkv,
    ]  # fmt: skip
    architecture, tensors = comfyui.load(convert(model, *options))
    assert architecture == "flux"
    names = ["img_attn.proj.weight", "img_attn.qkv.weight", "txt_attn.norm.key_norm.scale"]
    assert sorted(tensors) == [new + name for name in names]
    joined = np.concatenate([arrays[old + f"to_{part}.weight"] for part in "qkv"])
    assert np.array_equal(tensors[new + "img_attn.qkv.weight"][2], joined)
