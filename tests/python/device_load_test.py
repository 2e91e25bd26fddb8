"""headrace.load: a checkpoint's tensors in the host's memory and on devices."""

import collections
import gc
import os
import threading
import weakref

import ml_dtypes
import numpy as np
import pytest
import torch
from converting import small_model
from reading import BITS, RangeServer, as_bytes, random_bytes, run_python, write_safetensors

import headrace

TORCH_HAS_NONE = ("F6_E2M3", "F6_E3M2")


@pytest.fixture
def every_type(tmp_path):
    """Each type, of enough elements that a device takes it; {name: bytes} and the path."""
    contents = {dtype: random_bytes(dtype, 50 * 24) for dtype in BITS}
    path = write_safetensors(tmp_path / "m.safetensors", {d: (d, [50, 24], data) for d, data in contents.items()})
    return path, contents


@pytest.fixture
def opencl():
    if not any(device.name == "opencl:0" for device in headrace.devices()):
        pytest.skip("this machine has no OpenCL device")
    return "opencl:0"


@pytest.fixture
def model(tmp_path):
    tensors = {f"layer.{i}": ("F32", [64, 64], random_bytes("F32", 4096, i)) for i in range(20)}
    return write_safetensors(tmp_path / "model.safetensors", tensors)


@pytest.mark.parametrize("reads", ["automatic", "mapped", "cached", "direct"])
def test_torch_has_every_byte(every_type, reads):
    path, contents = every_type
    weights = headrace.load(path, host_reads=reads)
    assert list(weights) == list(contents)
    for name, data in contents.items():
        tensor = weights[name]
        if name in TORCH_HAS_NONE:
            assert isinstance(tensor, headrace.DeviceTensor) and tensor.device == "host"
            assert tensor.download().tobytes() == data
            continue
        assert isinstance(tensor, torch.Tensor) and as_bytes(tensor) == data
        assert tensor.dtype == headrace.open(path)[name].torch().dtype
        assert tuple(tensor.shape) == ((50, 12) if name == "F4" else (50, 24))
    assert weights.report.tensors == len(contents) and weights.report.host_bytes == sum(map(len, contents.values()))


def test_numpy_has_what_numpy_reads(every_type):
    path, contents = every_type
    weights = headrace.load(path, framework="numpy")
    with headrace.open(path) as checkpoint:
        for name in contents:
            expected = checkpoint[name].numpy()
            assert weights[name].dtype == expected.dtype and weights[name].shape == (50, 24)
            assert as_bytes(weights[name]) == as_bytes(expected), name
    assert weights["BF16"].dtype == ml_dtypes.bfloat16


def test_a_type_that_torch_was_asked_for_and_has_not(every_type):
    seen = []
    with pytest.raises(headrace.UnsupportedError) as raised:
        headrace.load(every_type[0], framework="torch", on_tensor=lambda *pair: seen.append(pair))
    assert raised.value.tensor in TORCH_HAS_NONE and not seen


def test_nothing_is_copied_on_the_host(model):
    array = headrace.load(model, framework="dlpack", host_reads="cached")["layer.3"]
    assert array.handle == torch.from_dlpack(array).data_ptr() == np.from_dlpack(array).ctypes.data
    assert array.handle == array.numpy().ctypes.data
    array.numpy()[0, 0] = 5
    assert torch.from_dlpack(array)[0, 0] == 5


def test_dlpack_says_where_and_what(model):
    tensor = headrace.load(model, framework="dlpack")["layer.0"]
    assert tensor.__dlpack_device__() == (1, 0)
    assert (tensor.name, tensor.dtype, tensor.shape, tensor.nbytes) == ("layer.0", "F32", (64, 64), 16384)
    with pytest.raises(BufferError):
        tensor.__dlpack__(dl_device=(2, 0))
    with pytest.raises(BufferError):
        tensor.__dlpack__(copy=True)


@pytest.mark.parametrize("framework", ["torch", "numpy", "dlpack"])
def test_a_tensor_outlives_all_else(model, framework):
    kept = headrace.load(model, framework=framework, host_reads="cached")["layer.7"]
    kept = torch.from_dlpack(kept) if framework == "dlpack" else kept
    gc.collect()
    # Memory of others comes and goes meanwhile.
    for _ in range(3):
        headrace.load(model, host_reads="cached")
    assert as_bytes(kept) == random_bytes("F32", 4096, 7)


def test_memory_goes_with_its_tensor(model):
    weights = headrace.load(model, framework="dlpack")
    gone = weakref.ref(weights["layer.1"]._loaded)
    capsule = weights.pop("layer.1").__dlpack__()
    gc.collect()
    assert gone() is not None
    array = torch.utils.dlpack.from_dlpack(capsule)
    del capsule, array
    gc.collect()
    assert gone() is None and len(weights) == 19


def test_the_origin_of_a_torch_tensor_does_not_keep_it(model):
    weights = headrace.load(model, host_reads="cached")
    origin = weights._origins["layer.1"][1]
    assert origin() is not None
    del weights["layer.1"]
    gc.collect()
    assert origin() is None


def test_blocks_come_as_rows_or_decoded(tmp_path):
    small_model(tmp_path)
    path = tmp_path / "q.gguf"
    headrace.convert(tmp_path / "model.safetensors", path, type="q8_0")
    raw = headrace.open(path)["blocks.0.weight"].raw()
    for framework in ("torch", "numpy"):
        rows = headrace.load(path, framework=framework)["blocks.0.weight"]
        assert tuple(rows.shape) == raw.shape == (8, 272) and as_bytes(rows) == raw.tobytes()
    tensor = headrace.load(path, framework="dlpack")["blocks.0.weight"]
    assert tensor.shape == (8, 256) and tensor.dtype == "Q8_0"
    assert torch.from_dlpack(tensor).shape == tensor.download().shape == (8, 272)
    decoded = headrace.load(path, dtype=torch.float32)["blocks.0.weight"]
    assert np.array_equal(decoded.numpy(), headrace.open(path)["blocks.0.weight"].numpy())


def test_types_names_and_rules(tmp_path):
    path = small_model(tmp_path)
    weights = headrace.load(path, dtype="bf16", rules={"norm": "keep"}, select="weight|norm", drop="^odd",
                            rename={r"^blocks\.": "blk."}, prefix="m.", strict=["m.blk.0.weight", "m.blk.1.weight",
                                                                               "m.norm.bias"])  # fmt: skip
    assert weights["m.blk.0.weight"].dtype == torch.bfloat16 and weights["m.norm.bias"].dtype == torch.float32
    with pytest.raises(headrace.InvalidArgumentError):
        headrace.load(path, dtype="bf16", type="f16")


def test_strict_is_said_before_anything_is_read(tmp_path):
    path = small_model(tmp_path)
    seen = []
    with pytest.raises(headrace.ConflictError) as raised:
        headrace.load(path, strict=["odd.weight", "absent"], on_tensor=lambda *pair: seen.append(pair))
    assert "'absent'" in raised.value.found and "4 unexpected" in raised.value.found and not seen
    with pytest.raises(headrace.InvalidArgumentError):
        headrace.load(path, strict=True)


def test_callbacks(model):
    arrived, progress = [], []
    thread = threading.get_ident()
    weights = headrace.load(model, progress=progress.append,
                            on_tensor=lambda name, tensor: arrived.append((name, tensor, threading.get_ident())))
    assert sorted(name for name, *_ in arrived) == sorted(weights)
    assert all(weights[name] is tensor and where == thread for name, tensor, where in arrived)
    assert progress[-1].bytes_done == progress[-1].bytes_total == 20 * 16384


@pytest.mark.parametrize("what", ["on_tensor", "on_progress"])
def test_an_exception_of_a_callback_reaches_the_caller(model, what):
    def fail(*_):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        headrace.load(model, **{what: fail})
    assert len(headrace.load(model)) == 20


def test_cancel_from_another_thread(model):
    cancel = headrace.CancelToken()
    with RangeServer(model, delay=0.2) as server:
        threading.Timer(0.2, cancel.cancel).start()
        with pytest.raises(headrace.CancelledError):
            headrace.load(server.url, cancel=cancel)


def test_other_threads_run_meanwhile(model):
    ticks, done = 0, threading.Event()

    def load():
        with RangeServer(model, delay=0.05) as server:
            assert len(headrace.load(server.url)) == 20
        done.set()

    thread = threading.Thread(target=load)
    thread.start()
    while not done.wait(0.01):
        ticks += 1
    thread.join()
    assert ticks > 5


def test_save_is_the_same_file(tmp_path):
    path = tmp_path / "m.safetensors"
    headrace.convert(small_model(tmp_path), path)
    weights = headrace.load(path)
    assert weights.metadata == {"general.name": "tiny", "author": "nobody"}
    assert weights.save(tmp_path / "copy.safetensors") == str(tmp_path / "copy.safetensors")
    assert headrace.verify(path, tmp_path / "copy.safetensors").files_identical
    with pytest.raises(headrace.ConflictError):
        weights.save(tmp_path / "copy.safetensors")
    headrace.convert(path, tmp_path / "m.gguf", type="q8_0", override_kv={"n.layers": 3})
    for framework in ("torch", "numpy", "dlpack"):
        again = headrace.load(tmp_path / "m.gguf", framework=framework)
        again.save(tmp_path / f"{framework}.gguf")
        assert headrace.verify(tmp_path / "m.gguf", tmp_path / f"{framework}.gguf").files_identical


def test_save_writes_what_the_dict_holds(tmp_path):
    weights = headrace.load(small_model(tmp_path))
    weights["norm.bias"][:] = 3
    weights["odd.weight"] = torch.arange(4, dtype=torch.bfloat16)
    del weights["positions"]
    path = weights.save(tmp_path / "changed.safetensors", metadata={"author": "me"})
    with headrace.open(path, framework="pt") as saved:
        assert saved.metadata == {"general.name": "tiny", "author": "me"} and "positions" not in saved
        assert saved["norm.bias"][...].eq(3).all() and saved["odd.weight"][...].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("reads", ["mapped", "cached"])
def test_save_writes_the_shapes_of_now(tmp_path, reads):
    source = tmp_path / "m.safetensors"
    headrace.convert(small_model(tmp_path), source)
    weights = headrace.load(source, framework="torch", host_reads=reads)
    before = weights["blocks.0.weight"].clone()
    weights["blocks.0.weight"].t_()
    weights["norm.bias"].unsqueeze_(0)
    with headrace.open(weights.save(tmp_path / "torch.safetensors"), framework="pt") as saved:
        assert saved["blocks.0.weight"].shape == (256, 8) and saved["blocks.0.weight"][...].equal(before.t())
        assert saved["norm.bias"][...].equal(weights["norm.bias"]) and saved["norm.bias"].shape[0] == 1
    weights = headrace.load(source, framework="numpy", host_reads=reads)
    weights["blocks.1.weight"].shape = (4, 512)
    with headrace.open(weights.save(tmp_path / "numpy.safetensors")) as saved:
        assert np.array_equal(saved["blocks.1.weight"][...], weights["blocks.1.weight"])


def test_a_traceback_keeps_no_tensors(model):
    arrived = []

    def fail(name, tensor):
        arrived.append(weakref.ref(tensor))
        del tensor
        if len(arrived) == 5:
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine") as raised:
        headrace.load(model, framework="torch", host_reads="cached", on_tensor=fail)
    assert raised.tb is not None and [ref() for ref in arrived] == [None] * 5


def test_a_pickled_load_is_a_state_dict(model, tmp_path):
    torch.save(headrace.load(model), tmp_path / "m.pt")
    loaded = torch.load(tmp_path / "m.pt")
    assert type(loaded) is collections.OrderedDict and as_bytes(loaded["layer.0"]) == random_bytes("F32", 4096, 0)


def test_words_that_are_none(model):
    for wrong in ({"device": ""}, {"device": None}, {"framework": "jax"}, {"host_reads": "quick"},
                  {"stream_weights": 1}, {"alignment": 3}, {"progress": print, "on_progress": print}):  # fmt: skip
        with pytest.raises(headrace.InvalidArgumentError):
            headrace.load(model, **wrong)
    with pytest.raises(TypeError, match="colour"):
        headrace.load(model, colour="red")
    with pytest.raises(headrace.InvalidArgumentError, match="host"):
        headrace.load(model, "abacus:0")


def test_where_there_is_no_torch(model):
    text = """
import sys, headrace
weights = headrace.load(sys.argv[1])
tensor = weights["layer.2"]
print(type(tensor).__name__, tensor.numpy().shape, tensor.__dlpack_device__())
try:
    headrace.load(sys.argv[1], framework="torch")
except headrace.UnsupportedError as error:
    print(error)
"""
    out = run_python(text, model, without=["torch"]).splitlines()
    assert out[0] == "DeviceTensor (64, 64) (1, 0)" and "torch isn't installed" in out[1]


def test_opencl(opencl, every_type):
    path, contents = every_type
    small = write_safetensors(path.with_name("s"), {"s": ("F32", [3], bytes(12)), "w": ("F32", [30, 40], bytes(4800))})
    for stream_weights in (True, False):
        weights = headrace.load(path, opencl, stream_weights=stream_weights)
        for name, data in contents.items():
            tensor = weights[name]
            assert tensor.device == opencl and tensor.__dlpack_device__()[0] == 4 and tensor.handle
            assert tensor.download().tobytes() == data
        assert as_bytes(weights["BF16"].numpy()) == contents["BF16"]
        assert weights.report.device_bytes == sum(map(len, contents.values()))
    assert {name: tensor.device for name, tensor in headrace.load(small, opencl).items()} == {"s": "host", "w": opencl}
    assert headrace.load(small, opencl, host_threshold=0)["s"].device == opencl
    with pytest.raises(headrace.UnsupportedError):
        headrace.load(small, opencl, framework="torch")


def test_saving_from_a_device_needs_a_copy(opencl, tmp_path):
    path = tmp_path / "m.safetensors"
    headrace.convert(small_model(tmp_path), path)
    streamed = headrace.load(path, opencl)
    with pytest.raises(headrace.UnsupportedError, match="keep_host_copy") as raised:
        streamed.save(tmp_path / "out.safetensors")
    assert raised.value.tensor and not (tmp_path / "out.safetensors").exists()
    headrace.load(path, opencl, keep_host_copy=True).save(tmp_path / "out.safetensors")
    assert headrace.verify(path, tmp_path / "out.safetensors").files_identical


def fake_cuda(text, *arguments):
    """Runs a program on a machine with the fake CUDA driver."""
    library = os.environ.get("HEADRACE_FAKE_CUDA")
    if not library or not os.path.isfile(library):
        pytest.skip("set HEADRACE_FAKE_CUDA to the path of libheadrace_fake_cuda.so")
    before = f"import os; os.environ['HEADRACE_CUDA_LIBRARY'] = {os.path.abspath(library)!r}\n"
    return run_python(before + text, *arguments)


def test_cuda_without_torchs(every_type):
    text = """
import sys, headrace
weights = headrace.load(sys.argv[1], "cuda", framework="dlpack")
tensor = weights["BF16"]
print(tensor.device, tensor.__dlpack_device__(), tensor.download().tobytes().hex())
print([device.name for device in headrace.devices() if device.kind == "cuda"])
"""
    path, contents = every_type
    lines = fake_cuda(text, path).splitlines()
    assert lines[0] == f"cuda:0 (2, 0) {contents['BF16'].hex()}"
    assert lines[1] == "['cuda:0', 'cuda:1']"


# torch's allocator, played by memory of the fake driver's: tensors of zeros at sys.argv[2], where there is one. Only the
# driver can look at what is there.
TORCHS_ALLOCATOR = """
import contextlib, ctypes, sys, threading, weakref, headrace, torch
zeros = headrace.load(sys.argv[2], "cuda:0", framework="dlpack", host_threshold=0) if len(sys.argv) > 2 else {}
by_address, left, threads, real = {tensor.handle: tensor for tensor in zeros.values()}, {}, set(), torch.empty
flats = []
for tensor in zeros.values():
    left.setdefault(tensor.nbytes, []).append(tensor.handle)
def empty(*size, device=None, **more):
    if device is None or device.type != "cuda":
        return real(*size, **more)
    threads.add(threading.get_ident())
    torch.cuda.current_stream(device).allocated += 1
    flat = torch.frombuffer((ctypes.c_ubyte * size[0]).from_address(left[size[0]].pop()), dtype=torch.uint8)
    flats.append(weakref.ref(flat))
    return flat
torch.empty = empty
torch.cuda.is_available = lambda: True
class Stream:
    allocated = waited = 0
    def synchronize(self):
        self.waited = self.allocated
default, current = Stream(), threading.local()  # each thread has its own
torch.cuda.current_stream = lambda device: getattr(current, "stream", default)
@contextlib.contextmanager
def use(stream):
    before, current.stream = torch.cuda.current_stream(None), stream
    yield
    current.stream = before
torch.cuda.stream = use
"""


def test_cuda_in_torchs_own_memory(every_type):
    text = """
weights = headrace.load(sys.argv[1], "cuda:0", rules="^F6_=drop", keep_host_copy=True)
assert threads and threading.get_ident() not in threads
for name, tensor in weights.items():
    assert isinstance(tensor, torch.Tensor) and tensor.numel() * tensor.element_size() == by_address[tensor.data_ptr()].nbytes
    print(name, tensor.dtype, by_address[tensor.data_ptr()].download().tobytes().hex())
weights.save(sys.argv[3])
"""
    path, contents = every_type
    zeros = {dtype: (dtype, [50, 24], bytes(len(data))) for dtype, data in contents.items()}
    write_safetensors(path.with_name("zeros"), zeros)
    saved = path.with_name("saved.safetensors")
    lines = fake_cuda(TORCHS_ALLOCATOR + text, path, path.with_name("zeros"), saved).splitlines()
    assert len(lines) == len(contents) - 2
    for line in lines:
        name, dtype, data = line.split()
        assert dtype.startswith("torch.") and bytes.fromhex(data) == contents[name], name
        assert headrace.open(saved)[name].raw().tobytes() == contents[name]


@pytest.fixture
def zeros(model):
    """Of the model's sizes."""
    tensors = {f"layer.{i}": ("F32", [64, 64], bytes(16384)) for i in range(20)}
    return write_safetensors(model.with_name("zeros"), tensors)


@pytest.mark.parametrize("stream_weights", [True, False])
def test_torchs_memory_is_of_the_callers_stream(model, zeros, stream_weights):
    text = f"""
side = Stream()
with torch.cuda.stream(side):
    weights = headrace.load(sys.argv[1], "cuda:0", stream_weights={stream_weights})
print(len(weights), side.allocated, side.waited, default.allocated)
"""
    assert fake_cuda(TORCHS_ALLOCATOR + text, model, zeros).split() == ["20", "20", "20", "0"]


def test_torchs_memory_of_what_was_not_taken_goes(model, zeros):
    text = """
with headrace.stream(sys.argv[1], "cuda:0") as stream:
    name, tensor = next(stream)
assert len(flats) > 1
print(sum(flat() is not None and flat().data_ptr() != tensor.data_ptr() for flat in flats))
"""
    assert fake_cuda(TORCHS_ALLOCATOR + text, model, zeros).split() == ["0"]


def test_torchs_allocator_fails_or_is_at_work_when_the_program_ends(model):
    text = """
import time
torch.cuda.is_available = lambda: False
try:
    headrace.load(sys.argv[1], 1, framework="torch")
except headrace.UnsupportedError as error:
    print(error.found)
torch.cuda.is_available = lambda: True
def full(*size, device=None, **more):
    time.sleep(0.05)
    raise MemoryError("CUDA out of memory")
torch.empty = full
for _ in range(2):
    try:
        headrace.load(sys.argv[1], "cuda:0")
    except MemoryError as error:
        print(error)
left_open = headrace.stream(sys.argv[1], "cuda:0")
"""
    lines = fake_cuda(TORCHS_ALLOCATOR + text, model).splitlines()
    assert lines == ["cuda:1", "CUDA out of memory", "CUDA out of memory"]
