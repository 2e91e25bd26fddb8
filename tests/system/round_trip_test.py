"""safetensors -> GGUF of each type -> safetensors, on real weights: the error is the type's own, and `verify` prints it."""

import json
import pathlib

import numpy as np
import pytest
import weights

gguf = pytest.importorskip("gguf")

MODEL = pathlib.Path(__file__).parent.parent / "data/real/wordllama.safetensors"

# Types made from floats, and the largest relative error that they may have on these weights, whose distribution is near
# a normal one: what the type's number of levels allows. TQ1_0, TQ2_0 and Q2_0 are made for models trained with three levels.
TYPES = {
    "f64": 0, "f32": 0, "f16": 0, "bf16": 0.003, "q8_0": 0.01, "q4_0": 0.12, "q4_1": 0.11, "q5_0": 0.06, "q5_1": 0.05,
    "q2_K": 0.35, "q3_K": 0.2, "q4_K": 0.1, "q5_K": 0.05, "q6_K": 0.03, "iq4_nl": 0.1, "iq4_xs": 0.1, "tq1_0": 0.85,
    "tq2_0": 0.85, "mxfp4": 0.15, "nvfp4": 0.12, "q1_0": 0.7, "q2_0": 0.75,
}  # fmt: skip


def real_weights():
    _, shape, data = weights.read_safetensors(MODEL)["embedding.weight"]
    return np.frombuffer(data, "<f2").reshape(shape).astype(np.float64)


def relative_rmse(truth, other):
    return float(np.sqrt(np.sum((truth - other) ** 2) / np.sum(truth**2)))


@pytest.fixture
def run(headrace):
    def call(*arguments):
        result = headrace(*arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return call


def error_in(run, first, second):
    worst = json.loads(run("verify", first, second, "--json"))["worst_relative_rmse"]
    return worst["value"] if worst else 0.0  # null: nothing differs


@pytest.mark.parametrize("kind", TYPES)
def test_the_error_is_the_types_own(run, tmp_path, figure, kind):
    quantised, back = tmp_path / "q.gguf", tmp_path / "back.safetensors"
    run("convert", MODEL, "-o", quantised, "--type", kind)
    run("convert", quantised, "-o", back, "--type", "f32")
    error = error_in(run, MODEL, quantised)
    figure(f"round trip of real weights, {kind}: relative RMSE {error:.6f}")
    assert error_in(run, MODEL, back) == error  # decoding to F32 adds nothing
    assert (error > 0) == (TYPES[kind] > 0)
    assert error <= TYPES[kind]

    dtype, shape, data = weights.read_safetensors(back)["embedding.weight"]
    assert (dtype, shape) == ("F32", (1000, 256))
    ours = np.frombuffer(data, "<f4").reshape(shape)
    assert error == pytest.approx(relative_rmse(real_weights(), ours.astype(np.float64)), rel=1e-9)

    if kind.upper() not in gguf.GGMLQuantizationType.__members__:
        pytest.skip(f"the gguf package doesn't know {kind}")
    tensor = gguf.GGUFReader(quantised).tensors[0]
    assert tensor.tensor_type.name.lower() == kind.lower()
    try:
        theirs = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError:
        pytest.skip(f"the gguf package can't decode {kind}")
    np.testing.assert_array_equal(ours, theirs.reshape(shape))


def test_verify_prints_the_error(run, tmp_path):
    run("convert", MODEL, "-o", tmp_path / "q.gguf", "--type", "q4_K")
    text = run("verify", MODEL, tmp_path / "q.gguf")
    error = error_in(run, MODEL, tmp_path / "q.gguf")
    assert 0.05 < error < 0.1
    assert f"{error:.4g}" in text


@pytest.mark.parametrize("kind", ["f8_e4m3", "f8_e5m2", "f8_e4m3fnuz", "f8_e5m2fnuz", "f6_e2m3", "f6_e3m2", "f4"])
def test_small_floats_live_in_safetensors(run, headrace, tmp_path, figure, kind):
    # The largest number here is 6.73, which an F4 still rounds to its own largest, 6: nothing is refused.
    small, back = tmp_path / "small.safetensors", tmp_path / "back.safetensors"
    run("convert", MODEL, "-o", small, "--type", kind)
    run("convert", small, "-o", back, "--type", "f32")
    error = error_in(run, MODEL, small)
    figure(f"round trip of real weights, {kind}: relative RMSE {error:.6f}")
    assert 0 < error == error_in(run, MODEL, back)
    result = headrace("convert", MODEL, "-o", tmp_path / "no.gguf", "--type", kind)
    assert result.returncode == 1 and "--to safetensors" in result.stderr


@pytest.mark.parametrize("kind", ["iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s"])
def test_types_that_are_only_read_say_so(headrace, tmp_path, kind):
    result = headrace("convert", MODEL, "-o", tmp_path / "o.gguf", "--type", kind)
    assert result.returncode == 2
    assert f"can't make {kind.upper()}, it only reads it" in result.stderr
    assert not (tmp_path / "o.gguf").exists()
