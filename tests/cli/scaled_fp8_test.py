"""headrace convert: 8-bit floats whose scale lies beside them."""

import json
import re

import pytest
import weights
from narrow_floats import BF16, F8_E4M3, F8_E5M2, finite_bytes
from progress_test import run_on_terminal, split_drawing
from streams_test import convert_stream
from weights import np

ROWS = 24
# What a scale may look like: what its name ends in, and its numbers.
SCALES = {
    "one": (".scale_weight", np.float32(0.37).reshape(())),
    "one.f16": (".weight_scale", np.array([0.0123], np.float16)),
    "one.bf16": (".scale_weight", np.array(3.3, BF16)),
    "one.f64": (".weight_scale", np.array([[0.1]], np.float64)),
    "tiny": (".weight_scale", np.array([3e-40], np.float32)),
    "rows": (".weight_scale", np.linspace(-2, 3, ROWS, dtype=np.float32)),
    "rows.f16": (".scale_weight", np.linspace(0.01, 7, ROWS).astype(np.float16).reshape(-1, 1)),
    "rows.bf16": (".weight_scale", np.linspace(0.01, 7, ROWS).astype(BF16).reshape(-1, 1)),
}


def times(weight, scale):
    """What a scaled weight stands for."""
    factors = np.atleast_1d(scale.astype(np.float32).squeeze())
    return weight.astype(np.float32) * factors.reshape(-1, *[1] * (weight.ndim - 1))


def scaled(name, weight, scale, ending=".scale_weight"):
    """A weight and its scale, the scale first."""
    return {name + ending: np.asarray(scale), name + ".weight": weight}


def weight_of(*shape, dtype=F8_E4M3, seed=1):
    return finite_bytes(dtype, *shape, seed=seed)


NUMBER = np.float32(0.37).reshape(())
MARK = np.zeros(0, F8_E4M3)


@pytest.fixture
def write(tmp_path):
    def make(tensors, name="scaled.safetensors"):
        return weights.write_safetensors(tmp_path / name, tensors)

    return make


@pytest.fixture
def convert(headrace, output):
    """Converts; gives the path."""

    def run(model, *options, to="safetensors"):
        path = output / f"out.{to}"
        result = headrace("convert", *([model] if model else []), "-o", path, "--force", *options)
        assert result.returncode == 0, result.stderr
        return path

    return run


@pytest.fixture
def tensors_in(headrace):
    """{name: (dtype, bytes)} of a file of either format."""

    def read(path):
        listed = json.loads(headrace("inspect", path, "--tensors", "--json").stdout)["tensors"]
        content = path.read_bytes()
        return {t["name"]: (t["dtype"], content[t["offset"] : t["offset"] + t["bytes"]]) for t in listed}

    return read


def everything():
    """Weights of both types with all kinds of scales, other tensors between them; and what the weights stand for."""
    tensors, truth = {"scaled_fp8": MARK, "first": weights.random_floats(3, 5)}, {}
    for dtype in [F8_E4M3, F8_E5M2]:
        for i, (kind, (ending, scale)) in enumerate(SCALES.items()):
            name = f"{weights.NAMES[dtype]}.{kind}"
            weight = weight_of(ROWS, 256, dtype=dtype, seed=i)
            parts = [(name + ending, scale), (name + ".weight", weight)]
            tensors |= dict(parts if i % 2 else parts[::-1])
            tensors[name + [".scale_input", ".input_scale"][i % 2]] = np.float32([1]).reshape(())
            tensors[name + ".bias"] = weights.random_floats(ROWS, seed=i)
            truth[name + ".weight"] = times(weight, scale)
    return tensors, truth


@pytest.mark.parametrize("to", ["safetensors", "gguf"])
@pytest.mark.parametrize("kind, dtype", [("f32", np.float32), ("f16", np.float16), ("bf16", BF16)])
def test_the_scale_is_folded_in_bit_for_bit(write, convert, tensors_in, kind, dtype, to):
    tensors, truth = everything()
    out = tensors_in(convert(write(tensors), "--type", kind, "--nonfinite", "keep", to=to))
    assert out.keys() == {"first", *truth, *(name for name in tensors if name.endswith(".bias"))}
    for name, numbers in truth.items():
        with np.errstate(over="ignore"):
            assert out[name] == (kind.upper(), numbers.astype(dtype).tobytes()), name


@pytest.mark.parametrize("options", [["--type", "q8_0"], ["--type", "q4_K"], ["--type", "q4_0", "--imatrix", "ones"]])
def test_quantised_from_what_the_numbers_stand_for(write, convert, tensors_in, options):
    tensors, truth = everything()
    options = [*options, "--nonfinite", "keep"]  # some are too large
    out = tensors_in(convert(write(tensors), *options, to="gguf"))
    expected = tensors_in(convert(write(truth, "plain.safetensors"), *options, to="gguf"))
    assert {name: out[name] for name in truth} == expected
    assert out.keys() - truth.keys() == {"first", *(name for name in tensors if name.endswith(".bias"))}


@pytest.mark.parametrize("mark", ["scaled_fp8", "model.diffusion_model.scaled_fp8"])
def test_what_was_folded_is_named(headrace, write, output, mark):
    tensors = scaled("a", weight_of(8, 64), NUMBER) | {"a.scale_input": NUMBER, mark: MARK}
    tensors["b.weight"] = weight_of(8, 64)
    arguments = ["convert", write(tensors), "-o", output / "o.gguf", "--type", "q8_0"]
    plan = json.loads(headrace(*arguments, "--dry-run", "--json").stdout)
    assert {t["name"] for t in plan["dropped"]} == {"a.scale_weight", "a.scale_input", mark}
    assert {t["why"] for t in plan["dropped"]} == {"folded into its weights"}
    assert {t["name"]: t["scaled"] for t in plan["tensors"]} == {"a.weight": True, "b.weight": False}
    assert plan["tensors"][0]["why"] == "--type Q8_0, scale folded in"
    assert (plan["tensors"][0]["from"], plan["tensors"][0]["source_bytes"]) == ("F8_E4M3", 512)
    explained = headrace(*arguments, "--explain", "a.scale_weight").stdout
    assert "left out: folded into its weights" in explained
    result = headrace(*arguments, "--json")
    notes = json.loads(result.stdout)["notes"]
    assert any("the scale is folded into the weights of tensor 'a.weight'" in note for note in notes)
    assert any(note.startswith("left out: 3 tensors") for note in notes)
    assert all(note in result.stderr for note in notes)


def test_without_a_type_nothing_changes(write, convert):
    tensors, _ = everything()
    model = write(tensors)
    path = convert(model)
    kept, before = weights.read_safetensors(path), weights.read_safetensors(model)
    assert kept == before and list(kept) == list(before)


def test_weights_that_a_rule_keeps_keep_their_scales_and_the_mark(write, convert):
    tensors = scaled("a", weight_of(8, 64), NUMBER) | scaled("b", weight_of(8, 64, seed=2), np.float32([2]))
    tensors |= {"a.scale_input": NUMBER, "b.scale_input": NUMBER, "scaled_fp8": MARK}
    model = write(tensors)
    out = weights.read_safetensors(convert(model, "--type", "f32", "--rule", r"^b\.weight=keep"))
    assert out.keys() == {"a.weight", "b.weight", "b.scale_weight", "b.scale_input", "scaled_fp8"}
    before = weights.read_safetensors(model)
    assert all(out[name] == before[name] for name in out.keys() - {"a.weight"})
    assert out["a.weight"][2] == times(tensors["a.weight"], NUMBER).tobytes()


@pytest.mark.parametrize("rule", [r"^a\.=f32", "^a=f16", "^a=bf16", ".=f16", "^a=fallback:f16", "a=rmse:0.01,f16"])
def test_a_rule_that_names_scales_too_leaves_none_beside_folded_weights(write, convert, rule):
    tensors = scaled("a", weight_of(8, 64), NUMBER) | {"a.scale_input": NUMBER, "scaled_fp8": MARK}
    path = convert(write(tensors), "--rule", rule, to="gguf" if "rmse" in rule else "safetensors")
    if path.suffix == ".safetensors":
        assert list(weights.read_safetensors(path)) == ["a.weight"]
    else:
        assert b"scale" not in path.read_bytes()


def test_a_bound_on_errors_narrows_no_scale(write, convert):
    """What stays scaled is only right with the very scale that it had."""
    model = write(scaled("a", weight_of(8, 64), np.linspace(1, 2, 8, dtype=np.float32)) | {"scaled_fp8": MARK})
    out = weights.read_safetensors(convert(model, "--rule", ".=rmse:0.1"))
    assert out == weights.read_safetensors(model)


@pytest.mark.parametrize("memory, threads", [("16MiB", 1), ("16MiB", 3), ("4MiB", 3), ("5MiB", 7)])
@pytest.mark.parametrize("kind", ["f32", "f16", "q4_K"])
def test_pieces_that_cut_rows(write, convert, tensors_in, kind, memory, threads):
    tensors, truth = {}, {}
    for name, (rows, row) in {"narrow": (900, 768), "wide": (3, 400_128)}.items():
        scale = np.abs(weights.random_floats(rows, 1)) + np.float32(0.1)
        tensors |= scaled(name, weight_of(rows, row), scale, ".weight_scale")
        truth[f"{name}.weight"] = times(tensors[f"{name}.weight"], scale)
    options = ["--memory", memory, "--threads", threads, "--type", kind]
    out = tensors_in(convert(write(tensors), *options, to="gguf"))
    if kind == "q4_K":
        plain = write(truth, "plain.safetensors")
        assert out == tensors_in(convert(plain, "--type", kind, to="gguf"))
        return
    assert out.keys() == truth.keys()
    for name, numbers in truth.items():
        right = numbers.astype({"f32": np.float32, "f16": np.float16}[kind])
        made = np.frombuffer(out[name][1], right.dtype)
        assert np.array_equal(made.view(np.uint8), right.reshape(-1).view(np.uint8)), name


def qkv():
    """Three weights of one shape, each with a scale of another kind, and a fourth without any."""
    scales = [NUMBER, np.linspace(1, 9, 8, dtype=np.float32), np.linspace(0.1, 4, 8).astype(np.float16).reshape(-1, 1)]
    tensors, truth = {}, []
    for i, (name, scale) in enumerate(zip("qkv", scales)):
        weight = weight_of(8, 256, seed=i)
        tensors |= scaled(f"blk.0.{name}", weight, scale, ".weight_scale")
        truth.append(times(weight, scale))
    tensors["blk.0.o.weight"] = weight_of(8, 256, seed=9)
    return tensors, np.concatenate([*truth, tensors["blk.0.o.weight"].astype(np.float32)])


@pytest.mark.parametrize("kind", ["f32", "q8_0"])
def test_joined_from_weights_of_different_scales(write, convert, tensors_in, kind):
    tensors, truth = qkv()
    join = "blk.{}.all.weight=" + ",".join(f"blk.{{}}.{name}.weight" for name in "qkvo")
    out = tensors_in(convert(write(tensors), "--type", kind, "--concat", join, to="gguf"))
    plain = write({"blk.0.all.weight": truth}, "plain.safetensors")
    assert out == tensors_in(convert(plain, "--type", kind, to="gguf"))


@pytest.mark.parametrize("scale", [NUMBER, np.linspace(1, 9, 8, dtype=np.float32).reshape(8, 1)])
def test_parts_of_a_scaled_weight(write, convert, scale):
    weight = weight_of(8, 256)
    model = write(scaled("qkv", weight, scale) | {"scaled_fp8": MARK})
    out = weights.read_safetensors(convert(model, "--type", "f32", "--split", "qkv.weight=q:2,k:5,v:1"))
    truth = times(weight, scale)
    assert {name: data for name, (_, _, data) in out.items()} == {
        "q": truth[:2].tobytes(), "k": truth[2:7].tobytes(), "v": truth[7:].tobytes(),
    }  # fmt: skip


def test_parts_joined_with_others(write, convert):
    tensors, truth = qkv()
    options = ["--split", "blk.0.k.weight=k0,k1", "--concat", "x=k1,blk.0.q.weight", "--concat", "y=blk.0.v.weight,k0"]
    out = weights.read_safetensors(convert(write(tensors), "--type", "f32", *options))
    assert out["x"][2] == np.concatenate([truth[12:16], truth[:8]]).tobytes()
    assert out["y"][2] == np.concatenate([truth[16:24], truth[8:12]]).tobytes()
    assert out.keys() == {"x", "y", "blk.0.o.weight"}


@pytest.mark.parametrize("option", [["--split", "qkv.weight=q,k"], ["--concat", "x=qkv.weight,o.weight"]])
def test_what_stays_isnt_parted_from_its_scale_in_silence(headrace, write, output, option):
    tensors = scaled("qkv", weight_of(8, 64), NUMBER) | scaled("o", weight_of(8, 64), np.float32([2]))
    result = headrace("convert", write(tensors), "-o", output / "o.safetensors", *option)
    assert result.returncode == 1 or "scale" in result.stderr


@pytest.mark.parametrize(
    "options", [["--prefix", "p."], ["--rename", "^a=p.a"], ["--rename", r"^a\.weight$=p.a.weight"]]
)
def test_other_names_in_the_output(write, convert, options):
    model = write(scaled("a", weight_of(8, 64), NUMBER) | {"a.scale_input": NUMBER, "scaled_fp8": MARK})
    out = weights.read_safetensors(convert(model, "--type", "f32", *options))
    assert list(out) == ["p.a.weight"]
    assert out["p.a.weight"][2] == times(weight_of(8, 64), NUMBER).tobytes()


def test_two_files_with_the_same_names(write, convert):
    parts = {"one.": (weight_of(8, 64), NUMBER), "two.": (weight_of(8, 64, seed=2), np.float32([5]))}
    options = []
    for prefix, (weight, scale) in parts.items():
        tensors = scaled("x", weight, scale) | {"x.scale_input": NUMBER, "scaled_fp8": MARK}
        model = write(tensors, f"{prefix}safetensors")
        options += ["--component", f"{prefix}={model}"]
    out = weights.read_safetensors(convert(None, *options, "--type", "f32"))
    assert {name: data for name, (_, _, data) in out.items()} == {
        f"{prefix}x.weight": times(*part).tobytes() for prefix, part in parts.items()
    }
    out = weights.read_safetensors(convert(None, *options, "--type", "f32", "--rule", r"^two\.x\.weight=keep"))
    assert {"two.x.weight", "two.x.scale_weight", "two.x.scale_input", "two.scaled_fp8"} <= out.keys()
    assert out["one.x.weight"][2] == times(*parts["one."]).tobytes()
    assert out["two.x.scale_weight"][2] == np.float32([5]).tobytes()


def test_a_weight_of_another_name(write, convert):
    tensors = {"experts": weight_of(4, 8, 32), "experts_scale": np.float32([1, 2, 3, 4]), "other_scale": NUMBER}
    out = weights.read_safetensors(convert(write(tensors), "--type", "f32"))
    assert out.keys() == {"experts", "other_scale"}
    assert out["experts"][2] == times(tensors["experts"], tensors["experts_scale"]).tobytes()


@pytest.mark.parametrize(
    "scale, found",
    [(np.ones(64, np.float32), "[64] of F32"), (np.ones((1, 8), np.float32), "[1, 8] of F32"),
     (np.ones((8, 2), np.float16), "[8, 2] of F16"), (np.ones(0, np.float32), "[0] of F32"),
     (np.ones((), np.int32), "[] of I32"), (np.ones((4, 8), np.float32), "[4, 8] of F32")],
)  # fmt: skip
def test_a_scale_of_another_shape_is_refused(headrace, write, convert, output, scale, found):
    model = write({"a.weight": weight_of(8, 64), "a.weight_scale": scale})
    result = headrace("convert", model, "-o", output / "o.gguf", "--type", "q8_0")
    assert result.returncode == 1
    for words in ["'a.weight_scale'", "expected one number, or 8", f"found {found}"]:
        assert words in result.stderr
    assert list(output.iterdir()) == []
    assert weights.read_safetensors(convert(model)) == weights.read_safetensors(model)


def test_what_has_no_scale_is_converted_as_it_is(write, convert):
    tensors = {"a.weight": weight_of(8, 64), "b.weight": weight_of(8, 64, dtype=F8_E5M2), "a.bias": weight_of(8)}
    out = weights.read_safetensors(convert(write(tensors), "--type", "f16"))
    for name, numbers in tensors.items():
        assert out[name] == ("F16", numbers.shape, numbers.astype(np.float16).tobytes())


def test_what_looks_like_a_scale_and_is_none(write, convert):
    tensors = {"a.weight": weights.random_floats(8, 64), "a.weight_scale": NUMBER, "a.scale_input": NUMBER}
    out = weights.read_safetensors(convert(write(tensors), "--type", "f16"))
    assert out.keys() == tensors.keys()
    assert {dtype for dtype, _, _ in out.values()} == {"F16"}


def test_gguf_holds_no_8_bit_floats(headrace, write, output):
    model = write(scaled("a", weight_of(8, 64), NUMBER))
    result = headrace("convert", model, "-o", output / "o.gguf")
    assert result.returncode == 1
    assert "'a.weight'" in result.stderr and "--type f16" in result.stderr
    assert list(output.iterdir()) == []


def test_for_comfyui_they_become_f16(write, convert, tensors_in):
    name = "double_blocks.0.img_attn.proj"
    model = write(scaled(name, weight_of(64, 64), NUMBER) | {"scaled_fp8": MARK})
    out = tensors_in(convert(model, "--for", "comfyui", "--architecture", "flux", to="gguf"))
    assert out == {f"{name}.weight": ("F16", times(weight_of(64, 64), NUMBER).astype(np.float16).tobytes())}


@pytest.mark.parametrize("dtype, number", [(F8_E4M3, 0x7F), (F8_E5M2, 0x7C)])
def test_what_is_no_number_is_refused_or_kept(headrace, write, output, dtype, number):
    weight = weight_of(8, 64, dtype=dtype)
    weight.view(np.uint8)[3, 5] = number
    model = write(scaled("a", weight, NUMBER))
    arguments = ["convert", model, "-o", output / "o.gguf", "--type", "q8_0"]
    result = headrace(*arguments)
    assert result.returncode == 1
    assert "'a.weight'" in result.stderr and f"element {3 * 64 + 5} " in result.stderr
    assert list(output.iterdir()) == []
    assert headrace(*arguments, "--nonfinite", "keep").returncode == 0


def test_measured_against_what_the_numbers_stand_for(headrace, write, output):
    tensors, truth = qkv()
    path, plain = output / "o.gguf", write({"all": truth}, "plain.safetensors")
    join = "all=" + ",".join(f"blk.0.{name}.weight" for name in "qkvo")
    result = headrace("convert", write(tensors), "-o", path, "--type", "q4_K", "--concat", join, "--measure", "--json")
    (error,) = json.loads(result.stdout)["errors"]
    (right,) = json.loads(headrace("verify", plain, path, "--tensors", "--json").stdout)["tensors"]
    assert error["relative_rmse"] == pytest.approx(right["relative_rmse"], rel=1e-12)
    assert error["max_error"] == right["max_error"]


def test_progress_ends_where_it_should(binary, tmp_path, output):
    specs = {"w.scale_weight": ("F32", ()), "w.weight": ("F8_E4M3", (16384, 4096))}
    model = weights.write_sparse_safetensors(tmp_path / "m.safetensors", specs)
    command = [binary, "convert", str(model), "-o", str(output / "o.gguf"), "--type", "q4_0"]
    status, drawn = run_on_terminal(command, 80)
    assert status == 0
    last = split_drawing(drawn)[0][-1]
    done, total = re.search(r"100 % +([\d.]+ \w+) of ([\d.]+ \w+)", last).groups()
    assert done == total


# From a pipe.


def between():
    """Tensors to lie around scales: small ones that share a piece, and one that is cut into several."""
    small = {f"small.{i}": weights.random_floats(3, 32, seed=i) for i in range(40)}
    return small | {"large": weights.random_floats(600, 1024)}, {f"late.{i}": x for i, x in enumerate(small.values())}


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0"])
def test_a_stream_brings_scales_before_their_weights(binary, write, convert, output, kind, threads):
    before, after = between()
    rows = np.linspace(1, 2, 700, dtype=np.float32).reshape(-1, 1)
    tensors = {"a.scale_weight": NUMBER, "b.weight_scale": rows} | before
    tensors |= {"a.weight": weight_of(64, 64), "b.weight": weight_of(700, 1024), "b.scale_input": NUMBER} | after
    model = write(tensors | scaled("c", weight_of(9, 32), NUMBER) | {"scaled_fp8": MARK})
    expected, got = convert(model, "--type", kind, to="gguf"), output / "stream.gguf"
    result = convert_stream(binary, model.read_bytes(), "-o", got, "--type", kind, "-t", threads)
    assert result.returncode == 0, result.stderr
    assert got.read_bytes() == expected.read_bytes()


def test_a_stream_of_many_small_scaled_weights(binary, write, convert, output):
    tensors = {}
    for i in range(300):
        tensors |= scaled(f"{i}", weight_of(2, 32, seed=i), np.float32([i])) | {f"{i}.bias": weights.random_floats(5)}
    model = write(tensors)
    for options in (["--type", "f16"], ["--type", "q8_0"], ["--type", "f32", "--memory", "4MiB"]):
        expected, got = convert(model, *options, to="gguf"), output / "stream.gguf"
        result = convert_stream(binary, model.read_bytes(), "-o", got, "--force", *options)
        assert result.returncode == 0, result.stderr
        assert got.read_bytes() == expected.read_bytes()


def test_a_scale_of_a_stream_that_stays_and_is_needed(binary, write, convert, output):
    # A rule keeps the scale, which the weight takes in all the same; it shares a piece with its neighbours.
    numbers = {f"n.{i}": np.arange(100, dtype=np.int32) for i in range(300)}
    model = write({"a.scale_weight": NUMBER} | numbers | {"a.weight": weight_of(64, 1024)})
    options = ["--type", "f16", "--rule", "scale_weight=keep"]
    expected, got = convert(model, *options), output / "stream.safetensors"
    result = convert_stream(binary, model.read_bytes(), "-o", got, *options)
    assert result.returncode == 0, result.stderr
    assert got.read_bytes() == expected.read_bytes()


def test_a_stream_with_a_scale_after_its_weights_is_refused(binary, write, output):
    before, after = between()
    model = write(before | {"a.weight": weight_of(64, 64), "a.scale_weight": NUMBER} | after)
    result = convert_stream(binary, model.read_bytes(), "-o", output / "o.gguf", "--type", "f16")
    assert result.returncode == 1
    for words in ["'a.weight'", "the scale comes after its weights", "'a.scale_weight'", "save it to a file first"]:
        assert words in result.stderr
    assert list(output.iterdir()) == []
    result = convert_stream(binary, model.read_bytes(), "-o", output / "o.safetensors")
    assert result.returncode == 0, result.stderr
    assert weights.read_safetensors(output / "o.safetensors") == weights.read_safetensors(model)
