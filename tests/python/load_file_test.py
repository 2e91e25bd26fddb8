"""load_file beside safetensors' own."""

import gc
import os
import subprocess
import sys

import headrace
import headrace.numpy
import headrace.torch
import ml_dtypes  # noqa: F401  (safetensors.numpy finds its types once it is imported)
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from reading import BITS, as_bytes, random_bytes, run_python, write_safetensors

PACKED = {"F4", "F6_E2M3", "F6_E3M2"}


def write_all(path, dtypes):
    tensors = {dtype: (dtype, (4, 24), random_bytes(dtype, 96, i)) for i, dtype in enumerate(dtypes)}
    return write_safetensors(path, tensors)


@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_torch(tmp_path, backend):
    path = write_all(tmp_path / "m", [dtype for dtype in BITS if dtype not in ("F6_E2M3", "F6_E3M2", "F8_E8M0")])
    ours, theirs = headrace.torch.load_file(path, backend=backend), safetensors.torch.load_file(path)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        other = theirs[name]
        assert (tensor.dtype, tensor.shape, tensor.stride()) == (other.dtype, other.shape, other.stride())
        assert as_bytes(tensor) == as_bytes(other)
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()  # of its own, as theirs


@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_numpy(tmp_path, backend):
    path = write_all(tmp_path / "m", [dtype for dtype in BITS if dtype not in PACKED and not dtype.startswith("F8")])
    ours, theirs = headrace.numpy.load_file(path, backend=backend), safetensors.numpy.load_file(path)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert (array.dtype, array.shape) == (theirs[name].dtype, theirs[name].shape)
        assert as_bytes(array) == as_bytes(theirs[name]) and array.flags.writeable and array.flags.aligned


def test_every_type_as_numpy(tmp_path):
    path = write_all(tmp_path / "m", BITS)
    checkpoint = headrace.open(path)
    loaded = headrace.numpy.load_file(path)
    assert len(loaded) == 22
    for name, array in loaded.items():
        assert array.dtype == checkpoint[name].numpy().dtype and as_bytes(array) == as_bytes(checkpoint[name].numpy())


def test_framework_by_what_the_program_uses(tmp_path):
    path = write_all(tmp_path / "m", ["F32"])
    assert isinstance(headrace.load_file(path)["F32"], torch.Tensor)
    assert isinstance(headrace.load_file(path, framework="np")["F32"], np.ndarray)
    program = """
import sys, headrace
print(type(headrace.load_file(sys.argv[1])["F32"]).__module__, "torch" in sys.modules)
"""
    assert run_python(program, path).split() == ["numpy", "False"]


def test_what_is_written_stays_here(tmp_path):
    path = write_all(tmp_path / "m", ["F32", "I64"])
    before = path.read_bytes()
    loaded = headrace.torch.load_file(path)
    loaded["F32"].fill_(7)
    headrace.numpy.load_file(path)["I64"][:] = 7
    assert path.read_bytes() == before
    assert not (headrace.open(path)["F32"].torch() == 7).all() and (loaded["F32"] == 7).all()


def test_tensors_outlive_everything_else(tmp_path):
    path = write_all(tmp_path / "m", ["F32"])
    expected = as_bytes(headrace.open(path)["F32"].numpy())
    kept = [headrace.torch.load_file(path)["F32"], headrace.numpy.load_file(path)["F32"]]
    os.unlink(path)
    gc.collect()
    assert [as_bytes(each) for each in kept] == [expected, expected]


def test_numbers_that_begin_at_odd_places_are_read(tmp_path):
    numbers = np.arange(10, dtype=np.float32)
    path = write_safetensors(tmp_path / "m", {"a": ("U8", [3], b"abc"), "b": ("F32", [10], numbers.tobytes())})
    assert np.array_equal(headrace.numpy.load_file(path)["b"], numbers)
    assert torch.equal(headrace.torch.load_file(path)["b"], torch.from_numpy(numbers))
    assert headrace.numpy.load_file(path)["b"].flags.aligned


def test_scalars_and_empty_tensors(tmp_path):
    path = write_safetensors(tmp_path / "m", {"s": ("F32", [], np.float32(3).tobytes()), "e": ("I64", [0, 4], b"")})
    for loaded in (headrace.torch.load_file(path), headrace.numpy.load_file(path)):
        assert loaded["s"].shape == () and float(loaded["s"]) == 3 and tuple(loaded["e"].shape) == (0, 4)


def test_a_file_that_is_cut_while_it_is_loaded(tmp_path):
    path = write_safetensors(tmp_path / "m", {"a": ("U8", [1 << 20], bytes(1 << 20))})
    core = headrace._load.open_core(path)
    mapping = core.map(0)
    os.truncate(path, 5000)
    with pytest.raises(headrace.IoError, match="ends too soon") as caught:
        mapping.populate()
    assert caught.value.offset == 5000


def test_devices_and_mistakes(tmp_path):
    path = write_all(tmp_path / "m", ["F32"])
    assert headrace.torch.load_file(path, device="meta")["F32"].device.type == "meta"
    assert headrace.torch.load_file(path, torch.device("cpu"))["F32"].device.type == "cpu"
    with pytest.raises(headrace.InvalidArgumentError):
        headrace.load_file(path, backend="other")
    with pytest.raises(headrace.IoError):
        headrace.load_file(tmp_path / "nothing")


def test_torch_files(tmp_path):
    weights = {"w": torch.randn(50, 60), "t": torch.randn(5, 6).t(), "b": torch.randn(3).bfloat16()}
    torch.save(weights, tmp_path / "m.pt")
    loaded = headrace.torch.load_file(tmp_path / "m.pt")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in weights.items())


def test_a_program_may_end_with_tensors_in_its_hands(tmp_path):
    path = write_all(tmp_path / "m", ["F32"])
    program = """
import sys, headrace
kept, checkpoint = headrace.load_file(sys.argv[1]), headrace.open(sys.argv[1])
tensor = checkpoint["F32"]
"""
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stream_is_read_in_the_order_of_its_bytes(tmp_path):
    header = b'{"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]},'
    header += b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    header += b" " * (-len(header) % 8)
    path = tmp_path / "m"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"abb")
    assert list(headrace.numpy.load_file(path)) == list(safetensors.numpy.load_file(path)) == ["a", "b"]
    program = "import headrace; print({k: a.tobytes() for k, a in headrace.load_file('-', framework='np').items()})"
    with open(path, "rb") as file:
        cat = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
        done = subprocess.run([sys.executable, "-c", program], stdin=cat.stdout, capture_output=True, text=True,
                              env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
        cat.stdout.close()
        cat.wait()
    assert done.stdout.strip() == str({"a": b"a", "b": b"bb"}), done.stderr
