"""The same bytes for any number of threads and any budget."""

import itertools

import ml_dtypes
import numpy as np
import pytest

import bigfiles
import weights
from measure import measure

weights.NAMES[np.dtype(ml_dtypes.bfloat16)] = "BF16"

THREADS = [1, 2, 7]
MEMORY = ["16MiB", "64MiB", "1GiB"]


def mixed_model():
    """Small and large, odd rows, one huge row, four float types and some that are no floats, in no good order."""
    rng = np.random.default_rng(23)

    def floats(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    halves = bigfiles.tame_halves
    tensors = {
        "large.f16": halves(1500 * 2048, 1).reshape(1500, 2048),
        "scalar": np.float32(2).reshape(()),
        "row.f16": halves(3_200_000, 2).reshape(1, -1),
        "odd.f16": halves(333 * 1001, 3).reshape(333, 1001),
        "large.f32": floats(600, 2080),
        "empty": np.zeros((0, 32), np.float32),
        "odd.row.f32": floats(1, 1_000_003),
        "large.bf16": floats(513, 1024).astype(ml_dtypes.bfloat16),
        "large.f64": floats(257, 512).astype(np.float64),
        "odd.f64": floats(7, 9).astype(np.float64),
        "numbers": rng.integers(-9, 9, 40_001, dtype=np.int16),
        "deep.f32": floats(2, 3, 5, 7, 32),
    }
    for i in range(300):
        dtype = [np.float32, np.float16, ml_dtypes.bfloat16, np.float64][i % 4]
        shape = [(4, 64), (7,), (3, 33), (32,), (1, 1, 96)][i % 5]
        tensors[f"small.{i}"] = floats(*shape).astype(dtype)
    return tensors


@pytest.fixture(scope="module")
def models(tmp_path_factory, binary):
    """The mixed model in both formats."""
    folder = tmp_path_factory.mktemp("models")
    model = weights.write_safetensors(folder / "model.safetensors", mixed_model(), metadata={"who": "me"})
    assert measure(binary, "convert", model, "-o", folder / "model.gguf", "-q").returncode == 0
    return folder


@pytest.mark.parametrize("source", ["model.safetensors", "model.gguf"])
@pytest.mark.parametrize(
    "output, type_options",
    [("out.gguf", ["--type", "q8_0"]), ("out.gguf", ["--type", "q4_0"]), ("out.gguf", ["--type", "f16"]),
     ("out.gguf", []), ("out.safetensors", ["--type", "f16"]), ("out.safetensors", ["--type", "f32"]),
     ("out.safetensors", [])],
)  # fmt: skip
def test_same_bytes(headrace, models, tmp_path, source, output, type_options):
    seen = {}
    for threads, memory in itertools.product(THREADS, MEMORY):
        options = [*type_options, "-t", threads, "--memory", memory, "--force"]
        result = headrace("convert", models / source, "-o", output, *options)
        assert result.returncode == 0, result.stderr
        seen[bigfiles.sha256(tmp_path / output)] = (threads, memory)
    assert len(seen) == 1, f"different bytes: {seen}"


def test_a_copy_has_the_source_bytes(headrace, models, tmp_path):
    # Through both formats, so that no order of tensors is left out: what comes back is what there was.
    assert headrace("convert", models / "model.gguf", "-o", "back.safetensors").returncode == 0
    back = weights.read_safetensors(tmp_path / "back.safetensors")
    assert back == weights.read_safetensors(models / "model.safetensors")
