"""Every type of safetensors as numpy arrays and torch tensors, bit for bit."""

import headrace
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from reading import BITS, as_bytes, random_bytes, write_safetensors

NUMPY = {"BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
         "U64": "uint64", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64", "C64": "complex64",
         "BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
         "F8_E8M0": ml_dtypes.float8_e8m0fnu, "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
         "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz, "F4": ml_dtypes.float4_e2m1fn, "F6_E2M3": ml_dtypes.float6_e2m3fn,
         "F6_E3M2": ml_dtypes.float6_e3m2fn}  # fmt: skip
PACKED = ["F4", "F6_E2M3", "F6_E3M2"]
WHOLE = [dtype for dtype in BITS if dtype not in PACKED]


@pytest.fixture
def everything(tmp_path):
    shape = (4, 24)
    tensors = {dtype: (dtype, shape, random_bytes(dtype, 96, i)) for i, dtype in enumerate(BITS)}
    path = write_safetensors(tmp_path / "all.safetensors", tensors)
    return path, {dtype: data for dtype, (_, _, data) in tensors.items()}


def test_there_are_22_types():
    assert len(BITS) == 22


@pytest.mark.parametrize("dtype", WHOLE)
def test_numpy(everything, dtype):
    path, data = everything
    tensor = headrace.open(path)[dtype]
    array = tensor.numpy()
    assert (tensor.dtype, tensor.shape, tensor.nbytes) == (dtype, (4, 24), len(data[dtype]))
    assert (tensor.size, tensor.ndim) == (96, 2)
    assert array.dtype == np.dtype(NUMPY[dtype]) and array.shape == (4, 24) and as_bytes(array) == data[dtype]
    assert array.flags.writeable and array.flags.owndata and array.flags.c_contiguous
    assert as_bytes(np.asarray(tensor)) == data[dtype]


@pytest.mark.parametrize("dtype", WHOLE)
def test_torch(everything, dtype):
    path, data = everything
    tensor = headrace.open(path)[dtype].torch()
    theirs = None if dtype == "F8_E8M0" else safetensors.torch.safe_open(path, "pt").get_tensor(dtype)
    assert tensor.shape == (4, 24) and as_bytes(tensor) == data[dtype]
    assert theirs is None or theirs.dtype == tensor.dtype
    assert dtype != "F8_E8M0" or tensor.dtype == torch.float8_e8m0fnu


@pytest.mark.parametrize("dtype", WHOLE)
def test_dlpack(everything, dtype):
    path, data = everything
    tensor = headrace.open(path)[dtype]
    assert tensor.__dlpack_device__() == (1, 0)
    if not dtype.endswith("FNUZ") and not dtype.startswith("F8"):  # torch takes some of them, as it grows
        assert as_bytes(torch.from_dlpack(tensor)) == data[dtype]
    if dtype != "BF16" and not dtype.startswith("F8"):  # numpy knows no others
        assert as_bytes(np.from_dlpack(tensor)) == data[dtype]


@pytest.mark.parametrize("dtype", PACKED)
def test_numpy_has_a_number_to_a_byte_of_packed_types(everything, dtype):
    path, data = everything
    array = headrace.open(path)[dtype].numpy()
    bits = BITS[dtype]
    number = int.from_bytes(data[dtype], "little")
    codes = [number >> bits * i & (1 << bits) - 1 for i in range(96)]
    expected = np.array(codes, np.uint8).view(NUMPY[dtype]).reshape(4, 24)
    assert array.dtype == expected.dtype
    assert np.array_equal(array.view(np.uint8), expected.view(np.uint8))
    # Parts of it, cut anywhere.
    part = headrace.open(path)[dtype][1:4:2, ::-3]
    assert np.array_equal(part.view(np.uint8), expected[1:4:2, ::-3].view(np.uint8))
    decoded = headrace.open(path)[dtype].numpy(dtype="F32")
    assert np.array_equal(decoded, expected.astype(np.float32))


def test_torch_has_f4_in_pairs_as_safetensors_does(everything, tmp_path):
    path, data = everything
    tensor = headrace.open(path)["F4"]
    ours, theirs = tensor.torch(), safetensors.torch.safe_open(path, "pt").get_tensor("F4")
    assert ours.shape == theirs.shape == (4, 12) and ours.dtype == theirs.dtype and as_bytes(ours) == data["F4"]
    assert as_bytes(tensor.torch((slice(1, 3), slice(2, 8)))) == as_bytes(ours.view(torch.uint8)[1:3, 1:4])
    with pytest.raises(headrace.InvalidArgumentError, match="pairs"):
        tensor.torch((0, slice(0, 3)))
    with pytest.raises(headrace.InvalidArgumentError):
        tensor.torch((0, slice(1, 3)))


@pytest.mark.parametrize("dtype", ["F6_E2M3", "F6_E3M2"])
def test_torch_has_no_f6(everything, dtype):
    path, data = everything
    tensor = headrace.open(path, framework="pt")[dtype]
    with pytest.raises(headrace.UnsupportedError, match="torch has no type for F6") as caught:
        tensor.torch()
    assert 'dtype="F32"' in caught.value.hint and ".raw()" in caught.value.hint and caught.value.tensor == dtype
    assert tensor.torch(dtype=torch.float32).dtype == torch.float32
    assert as_bytes(tensor.raw()) == data[dtype]
    with pytest.raises(headrace.UnsupportedError):
        tensor.__dlpack__()


def test_a_type_on_the_way(tmp_path):
    numbers = np.random.default_rng(1).standard_normal((300, 1700), np.float32)
    safetensors.numpy.save_file({"w": numbers, "h": numbers.astype(np.float16), "i": np.arange(5)}, tmp_path / "m")
    checkpoint = headrace.open(tmp_path / "m")
    bf16 = checkpoint["w"].numpy(dtype=ml_dtypes.bfloat16)
    assert np.array_equal(bf16.view(np.uint16), numbers.astype(ml_dtypes.bfloat16).view(np.uint16))
    assert torch.equal(checkpoint["w"].torch(dtype=torch.float16), torch.from_numpy(numbers).half())
    assert np.array_equal(checkpoint["w"].numpy(dtype=np.float16), numbers.astype(np.float16))
    assert np.array_equal(checkpoint["h"].numpy(dtype="float64"), numbers.astype(np.float16).astype(np.float64))
    assert np.array_equal(checkpoint["w"].numpy((slice(3, 300, 7), slice(1, 9)), dtype="F16"),
                          numbers[3:300:7, 1:9].astype(np.float16))
    e4m3 = checkpoint["w"].torch(dtype="F8_E4M3")
    assert torch.equal(e4m3.view(torch.uint8), torch.from_numpy(numbers).to(torch.float8_e4m3fn).view(torch.uint8))
    for name, dtype in [("w", "I32"), ("i", "F32"), ("w", "F4"), ("w", "Q8_0"), ("w", "no such type"), ("w", 3)]:
        with pytest.raises(headrace.InvalidArgumentError):
            checkpoint[name].numpy(dtype=dtype)


def test_denormals_survive_a_program_that_switched_them_off(tmp_path):
    tiny = np.array([1, 2, 3], np.uint16)
    write_safetensors(tmp_path / "m", {"w": ("F16", [3], tiny.tobytes())})
    torch.set_flush_denormal(True)
    try:
        array = headrace.open(tmp_path / "m")["w"].numpy(dtype="F32")
        bits = array.view(np.uint32).tolist()
    finally:
        torch.set_flush_denormal(False)
    assert bits == tiny.view(np.float16).astype(np.float32).view(np.uint32).tolist() and 0 not in bits


def test_scalars_and_empty_tensors(tmp_path):
    safetensors.numpy.save_file({"s": np.array(3, np.float32), "e": np.zeros((0, 5), np.int32)}, tmp_path / "m")
    checkpoint = headrace.open(tmp_path / "m")
    assert checkpoint["s"].numpy().shape == () and float(checkpoint["s"].numpy()) == 3 and checkpoint["s"][()] == 3
    assert checkpoint["s"].torch().shape == () and checkpoint["s"].torch().item() == 3
    assert checkpoint["e"].numpy().shape == (0, 5) and checkpoint["e"].torch().shape == (0, 5)
    assert checkpoint["e"].raw().shape == (0,) and np.from_dlpack(checkpoint["e"]).shape == (0, 5)
    with pytest.raises(TypeError):
        len(checkpoint["s"])


def test_raw_and_read_into(everything):
    path, data = everything
    checkpoint = headrace.open(path)
    for dtype in BITS:
        raw = checkpoint[dtype].raw()
        assert raw.dtype == np.uint8 and raw.shape == (len(data[dtype]),) and raw.tobytes() == data[dtype]
        buffer = bytearray(len(data[dtype]))
        checkpoint[dtype].read_into(buffer)
        assert buffer == data[dtype]
    with pytest.raises(headrace.InvalidArgumentError):
        checkpoint["F32"].read_into(bytearray(5))
    with pytest.raises(BufferError):
        checkpoint["F32"].read_into(bytes(len(data["F32"])))


def test_array_protocol(everything):
    path, _ = everything
    tensor = headrace.open(path)["F16"]
    assert np.asarray(tensor, np.float64).dtype == np.float64
    with pytest.raises(ValueError):
        np.asarray(tensor, copy=False)
    with pytest.raises(BufferError):
        tensor.__dlpack__(copy=False)
