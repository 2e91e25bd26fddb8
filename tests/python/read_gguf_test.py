"""GGUF's types of blocks: decoded as the gguf package decodes them, and as they are."""

import pathlib

import gguf
import headrace
import numpy as np
import pytest
import torch
from reading import as_bytes

GOLDEN = pathlib.Path(__file__).parent.parent / "data/golden"
SAMPLES = GOLDEN / "gguf-samples/tensors_all_a32.gguf"  # holds types that the package doesn't know yet
DECODED = [kind.name for kind in gguf.quants._type_traits if kind.name != "BF16"]
BLOCKS = [*DECODED, "Q8_K"]


def golden_bytes(name):
    """Numbers that ggml quantised; of types that it has no files of, any bytes."""
    row = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]][1] * 4
    found = sorted((GOLDEN / "ggml").glob(f"{name.lower()}*__normal.bin")) or \
        [path for path in (GOLDEN / "ggml").glob("*__normal.bin") if path.name.lower().startswith(name.lower() + "_")]
    data = np.fromfile(found[0], np.uint8) if found else np.arange(3 * row, dtype=np.uint8)
    return data[:len(data) // row * row].reshape(-1, row)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "all.gguf"
    writer = gguf.GGUFWriter(path, "test")
    for name in BLOCKS:
        writer.add_tensor(name, golden_bytes(name), raw_dtype=gguf.GGMLQuantizationType[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def theirs(model):
    return {tensor.name: tensor for tensor in gguf.GGUFReader(model).tensors}


def test_there_are_samples_of_what_there_is():
    assert len(DECODED) >= 23
    assert [name for name in DECODED if len(golden_bytes(name)) == 0] == []


@pytest.mark.parametrize("name", DECODED)
def test_decoded(model, theirs, name):
    ours = headrace.open(model)[name].numpy()
    expected = gguf.quants.dequantize(theirs[name].data, theirs[name].tensor_type)
    assert ours.dtype == np.float32 and ours.shape == expected.shape and np.array_equal(ours, expected)
    assert as_bytes(headrace.open(model)[name].torch()) == as_bytes(ours)
    assert as_bytes(np.from_dlpack(headrace.open(model)[name])) == as_bytes(ours)


@pytest.mark.parametrize("name", BLOCKS)
def test_raw(model, theirs, name):
    raw = headrace.open(model)[name].raw()
    assert raw.shape == theirs[name].data.shape and np.array_equal(raw, theirs[name].data)
    as_torch = headrace.open(model, framework="pt")[name].raw()
    assert as_torch.dtype == torch.uint8 and np.array_equal(as_torch.numpy(), raw)


@pytest.mark.parametrize("dtype", ["Q8_1", "Q8_K"])
def test_intermediate_types_are_raw_only(dtype):
    tensor = next(tensor for tensor in headrace.open(SAMPLES).values() if tensor.dtype == dtype)
    assert tensor.raw().size == tensor.nbytes
    with pytest.raises(headrace.InvalidArgumentError, match="can't be read") as caught:
        tensor.numpy()
    assert caught.value.tensor == tensor.name and caught.value.file.endswith(SAMPLES.name)


def test_a_type_on_the_way(model):
    tensor = headrace.open(model)["Q6_K"]
    assert np.array_equal(tensor.numpy(dtype="F16"), tensor.numpy().astype(np.float16))
    assert torch.equal(tensor.torch(dtype=torch.bfloat16), torch.from_numpy(tensor.numpy()).bfloat16())


@pytest.mark.parametrize("dtype", ["Q1_0", "Q2_0"])
def test_types_that_the_package_does_not_know(dtype):
    tensor = next(tensor for tensor in headrace.open(SAMPLES).values() if tensor.dtype == dtype)
    assert tensor.raw().size == tensor.nbytes and tensor.numpy().shape == tensor.shape


def test_metadata(model):
    metadata = headrace.open(model).metadata
    assert metadata["general.architecture"] == "test"
    metadata.clear()
    assert headrace.open(model).metadata
