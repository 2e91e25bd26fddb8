"""Peak memory and right numbers for sources in many files, for streams, and for outputs in shards: 3 GB each."""

import json
import os
import subprocess

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Ggml

import bigfiles
import weights
from bounded_test import BUDGETS, assert_quantised_right, islands_of, run_within

SHAPES = {f"blocks.{i}.weight": (915, 4096) for i in range(400)}  # 3 GB of F16


@pytest.fixture(autouse=True)
def unsanitized(sanitized):
    if sanitized:
        pytest.skip(f"the {sanitized} sanitizer's own memory would be measured")


def with_islands(names):
    return {name: islands_of(915 * 4096, int(name.split(".")[1])) for name in names if int(name.split(".")[1]) % 57 == 0}


@pytest.fixture(scope="module")
def whole(roomy_folder):
    path = bigfiles.write_islands(roomy_folder / "whole.safetensors", SHAPES, with_islands(SHAPES))
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def sharded(roomy_folder):
    """The same in 40 shards of ten tensors, with their index."""
    folder = roomy_folder / "sharded"
    folder.mkdir()
    weight_map = {}
    for shard in range(40):
        file = f"model-{shard + 1:05}-of-00040.safetensors"
        names = [f"blocks.{i}.weight" for i in range(10 * shard, 10 * shard + 10)]
        bigfiles.write_islands(folder / file, {name: SHAPES[name] for name in names}, with_islands(names))
        weight_map |= dict.fromkeys(names, file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}))
    yield index
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


@pytest.mark.parametrize("budget", BUDGETS)
def test_an_index_of_shards(figure, binary, roomy_folder, sharded, budget):
    output = roomy_folder / "out.gguf"
    try:
        run_within(figure, binary, sharded, output, budget, "F16 -> Q8_0, 3 GB in 40 shards", "--type", "q8_0")
        assert_quantised_right(output, with_islands(SHAPES), Ggml.Q8_0)
    finally:
        output.unlink(missing_ok=True)


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_stream(figure, binary, roomy_folder, whole, budget):
    output = roomy_folder / "out.gguf"
    with subprocess.Popen(["cat", whole], stdout=subprocess.PIPE) as stream:
        try:
            run_within(
                figure, binary, "-", output, budget, "F16 -> Q8_0, 3 GB from a pipe", "--type", "q8_0",
                stdin=stream.stdout,
            )  # fmt: skip
            assert_quantised_right(output, with_islands(SHAPES), Ggml.Q8_0)
        finally:
            stream.stdout.close()
            output.unlink(missing_ok=True)
    assert stream.returncode == 0


@pytest.mark.parametrize("budget", BUDGETS)
def test_an_output_in_shards(figure, binary, roomy_folder, whole, budget):
    folder = roomy_folder / "out"
    folder.mkdir()
    try:
        run_within(
            figure, binary, whole, folder / "out.gguf", budget, "F16 -> Q8_0, 3 GB to shards", "--type", "q8_0",
            "--shard-size", "300MB",
        )  # fmt: skip
        files = sorted(os.listdir(folder))
        assert files == [f"out-{i:05}-of-00006.gguf" for i in range(1, 7)]
        for file in files:
            there = bigfiles.gguf_places(folder / file)
            islands = {name: at for name, at in with_islands(SHAPES).items() if name in there}
            assert_quantised_right(folder / file, islands, Ggml.Q8_0)
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def test_a_quantised_tfjs_model(figure, binary, roomy_folder):
    """1 GB of uint8 in 250 files of 4 MB, as the converter of TensorFlow.js cuts them: 4 GB of float32."""
    folder = roomy_folder / "tfjs"
    folder.mkdir()
    output = roomy_folder / "out.safetensors"
    elements = 4_000_000
    quantization = {"dtype": "uint8", "scale": 0.5, "min": -2.0}
    try:
        manifest = [{"paths": [], "weights": []}]
        for i in range(250):
            file = folder / f"group1-shard{i + 1}of250.bin"
            with open(file, "wb") as out:
                out.write(bytes([i]))
                out.truncate(elements)
            manifest[0]["paths"].append(file.name)
            weight = {"name": f"w{i}", "shape": [1000, 4000], "dtype": "float32", "quantization": quantization}
            manifest[0]["weights"].append(weight)
        (folder / "model.json").write_text(json.dumps({"weightsManifest": manifest}))
        run_within(figure, binary, folder / "model.json", output, 64, "TFJS, 1 GB of uint8 in 250 files", "--type", "f16")
        header, _ = weights.safetensors_header({f"w{i}": ("F16", (1000, 4000)) for i in range(250)})
        assert abs(output.stat().st_size - 2 * 250 * elements - len(header)) < 4096
        with open(output, "rb") as result:
            length = 8 + int.from_bytes(result.read(8), "little")
            offsets = json.loads(result.read(length - 8))
            for i in (0, 100, 249):
                result.seek(length + offsets[f"w{i}"]["data_offsets"][0])
                first = np.frombuffer(result.read(4), "<f2")
                assert first.tolist() == [i * 0.5 - 2, -2]
    finally:
        output.unlink(missing_ok=True)
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


