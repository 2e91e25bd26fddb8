"""save_file: the bytes that the reference writer makes, of every type, however a tensor lies in memory."""

import gguf
import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch

import headrace
import headrace.numpy
import headrace.torch

TORCH_TYPES = [
    torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.uint64,
    torch.int64, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu, torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64,
    torch.float4_e2m1fn_x2,
]
NUMPY_TYPES = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32",
               "float64", "complex64"]
SAFETENSORS_TYPES = {  # bits
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64, "F8_E4M3": 8,
    "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}


def torch_tensor(dtype, *shape, seed=0):
    size = torch.empty(0, dtype=dtype).element_size()
    generator = torch.Generator().manual_seed(seed)
    most = 2 if dtype == torch.bool else 256
    count = size * int(np.prod(shape))
    return torch.randint(0, most, (count,), dtype=torch.uint8, generator=generator).view(dtype).reshape(shape)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_the_bytes_are_the_reference_writers_for_torch(tmp_path, metadata):
    tensors = {}
    for i, dtype in enumerate(TORCH_TYPES):
        tensors[f"{i % 3}.matrix.{i}"] = torch_tensor(dtype, 4, 8, seed=i)
        tensors[f"vector é.{i}"] = torch_tensor(dtype, 3, seed=i)
        tensors[f"empty.{i}"] = torch.empty((2, 0, 3), dtype=dtype)
        if dtype != torch.float4_e2m1fn_x2:
            tensors[f"scalar.{i}"] = torch_tensor(dtype, seed=i)
    safetensors.torch.save_file(tensors, tmp_path / "theirs.safetensors", metadata)
    headrace.save_file(tensors, tmp_path / "ours.safetensors", metadata)
    assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()


def test_the_bytes_are_the_reference_writers_for_numpy(tmp_path, rng):
    tensors = {f"{name}.{shape}": rng.integers(0, 2, shape).astype(name)
               for name in NUMPY_TYPES for shape in [(2, 3), (5,), (0, 2), ()]}
    safetensors.numpy.save_file(tensors, tmp_path / "theirs.safetensors", {"a": "b"})
    headrace.numpy.save_file(tensors, tmp_path / "ours.safetensors", {"a": "b"})
    assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()


def test_every_safetensors_type_by_its_bytes(tmp_path, rng):
    shape = (4, 8)
    data = {name: rng.integers(0, 2 if name == "BOOL" else 256, bits * 4 * 8 // 8, dtype=np.uint8).tobytes()
            for name, bits in SAFETENSORS_TYPES.items()}
    with headrace.Writer(tmp_path / "m.safetensors", [(name, name, shape) for name in data]) as writer:
        for name, content in data.items():
            writer.write(name, content)
    read = dict(safetensors.deserialize((tmp_path / "m.safetensors").read_bytes()))
    assert {name: (tensor["dtype"], tuple(tensor["shape"]), bytes(tensor["data"])) for name, tensor in read.items()} == {
        name: (name, shape, content) for name, content in data.items()}


@pytest.mark.parametrize("name", ["float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn"])
def test_what_ml_dtypes_holds_a_byte_each_is_packed(tmp_path, name):
    codes = np.arange(16 if "float4" in name else 64, dtype=np.uint8)
    values = codes.view(getattr(ml_dtypes, name)).reshape(4, -1)
    headrace.save_safetensors_streaming([("w", values)], tmp_path / "m.safetensors",
                                        headrace.collect_state_dict_meta({"w": values}))
    headrace.save_file({"w": values}, tmp_path / "same.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "same.safetensors").read_bytes()
    headrace.convert(tmp_path / "m.safetensors", tmp_path / "wide.safetensors", type="F32")
    wide = safetensors.numpy.load_file(tmp_path / "wide.safetensors")["w"]
    np.testing.assert_array_equal(wide, values.astype(np.float32))


def test_gguf_is_read_by_the_gguf_package(tmp_path, rng):
    arrays = {"f32": rng.standard_normal((3, 64)).astype(np.float32), "f16": rng.standard_normal((2, 2, 8)).astype("f2"),
              "i8": rng.integers(-9, 9, 7).astype("i1"), "i64": rng.integers(-9, 9, (2, 2)), "f64": rng.random(3)}
    headrace.save_file(arrays, tmp_path / "m.gguf", {"general.architecture": "llama", "general.name": "tiny"})
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    assert reader.get_field("general.name").contents() == "tiny"
    assert {tensor.name for tensor in reader.tensors} == set(arrays)
    for tensor in reader.tensors:
        np.testing.assert_array_equal(tensor.data, arrays[tensor.name].reshape(tensor.data.shape))


def test_tensors_that_dont_lie_in_one_piece(tmp_path):
    base = torch.arange(6 * 8 * 10, dtype=torch.float32).reshape(6, 8, 10)
    numbers = base.numpy()
    tensors = {
        "transposed": base.permute(2, 0, 1), "stepped": base[::2, :, 3:], "expanded": base[:1].expand(5, 8, 10),
        "reversed": numbers[::-1, ::-2], "big-endian": numbers.astype(">f4"), "fortran": np.asfortranarray(numbers),
        "conjugate": torch.complex(base, base).conj(), "negative": torch.complex(base, base).conj().imag,
    }
    expected = {name: np.ascontiguousarray(t.resolve_conj().resolve_neg().numpy() if torch.is_tensor(t) else t)
                for name, t in tensors.items()}
    headrace.save_file({name: t.clone() if name == "expanded" else t for name, t in tensors.items()
                        if name not in ("transposed", "stepped", "expanded")}, tmp_path / "a.safetensors")
    with headrace.Writer(tmp_path / "b.safetensors", tensors) as writer:
        for name, tensor in tensors.items():
            writer.write(name, tensor)
    for file in ("a", "b"):
        for name, read in safetensors.numpy.load_file(tmp_path / f"{file}.safetensors").items():
            np.testing.assert_array_equal(read, expected[name], name)


def test_large_pieces_are_cut_and_joined_again(tmp_path, monkeypatch):
    monkeypatch.setattr("headrace._source.PART", 1000)
    tensors = {"t": torch.arange(70 * 50 * 3).reshape(70, 50, 3).permute(1, 2, 0), "row": torch.arange(9000)[::3],
               "one": torch.arange(2 * 4000).reshape(2, 4000).t()[:, :1]}
    headrace.save_file({name: tensor for name, tensor in tensors.items()}, tmp_path / "m.safetensors")
    for name, read in safetensors.torch.load_file(tmp_path / "m.safetensors").items():
        assert torch.equal(read, tensors[name])


def test_tensors_that_share_memory_are_refused(tmp_path):
    base = torch.zeros(10)
    for pair in ({"a": base, "b": base}, {"a": base[:6], "b": base[5:]}):
        with pytest.raises(headrace.InvalidArgumentError, match="shares memory with 'a'") as caught:
            headrace.save_file(pair, tmp_path / "m.safetensors")
        assert caught.value.tensor == "b"
    headrace.save_file({"a": base[:5], "b": base[5:]}, tmp_path / "m.safetensors")
    assert list(safetensors.torch.load_file(tmp_path / "m.safetensors")) == ["a", "b"]


def test_what_cant_be_saved_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.safetensors"
    headrace.save_file({"a": np.zeros(3)}, path)
    old = path.read_bytes()
    for bad in (np.array(["text"]), np.array([object()]), torch.zeros(3, device="meta"), torch.eye(3).to_sparse()):
        with pytest.raises(headrace.Error) as caught:
            headrace.save_file({"a": np.zeros(3), "bad": bad}, path)
        assert caught.value.tensor == "bad"
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_tensors_of_another_file_go_as_they_are(tmp_path, monkeypatch):
    headrace.save_file({"w": np.arange(256, dtype=np.float32).reshape(4, 64)}, tmp_path / "in.safetensors")
    headrace.convert(tmp_path / "in.safetensors", tmp_path / "in.gguf", type="q8_0")
    with headrace.open(tmp_path / "in.gguf") as source:
        reads = []
        raw = headrace.Tensor.raw
        monkeypatch.setattr(headrace.Tensor, "raw", lambda self, *rest: reads.append(self.name) or raw(self, *rest))
        assert headrace.collect_state_dict_meta(source) == [("w", "Q8_0", (4, 64))]
        assert reads == []
        headrace.save_file(source, tmp_path / "out.gguf")
        assert reads == ["w"]
        np.testing.assert_array_equal(headrace.open(tmp_path / "out.gguf")["w"].raw(), source["w"].raw())


def test_disjoint_views_are_no_sharing(tmp_path):
    w = torch.arange(12.0).reshape(3, 4)
    c = torch.tensor([1 + 2j, 3 + 4j])
    tensors = {"left": w[:, :2], "right": w[:, 2:], "real": c.real, "imag": c.imag}
    headrace.save_file(tensors, tmp_path / "m.safetensors")
    read = safetensors.torch.load_file(tmp_path / "m.safetensors")
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
    with pytest.raises(headrace.InvalidArgumentError, match="shares memory"):
        headrace.save_file({"a": w[:, :2], "b": w[:, :2]}, tmp_path / "m.safetensors")


def test_arrays_of_other_kinds(tmp_path):
    with pytest.raises(headrace.InvalidArgumentError, match="'m': a masked array"):
        headrace.save_file({"m": np.ma.array([1, 2], mask=[0, 1])}, tmp_path / "m.safetensors")
    for bad in (np.array([1 + 2j], np.complex128), np.array([1], np.longdouble)):
        with pytest.raises(headrace.InvalidArgumentError, match="'bad': unknown type") as caught:
            headrace.save_file({"bad": bad}, tmp_path / "m.safetensors")
        assert caught.value.tensor == "bad"
    headrace.save_file({"matrix": np.matrix([[1, 2], [3, 4]]).T, "number": 3.5}, tmp_path / "m.safetensors")
    read = safetensors.numpy.load_file(tmp_path / "m.safetensors")
    assert read["matrix"].tolist() == [[1, 3], [2, 4]] and read["number"] == 3.5


def test_a_name_ending_says_the_format(tmp_path):
    with pytest.raises(headrace.InvalidArgumentError, match="ending in .gguf or .safetensors"):
        headrace.save_file({"a": np.zeros(3)}, tmp_path / "model.bin")
