"""What was loaded, as torch's tensors, numpy's arrays or DeviceTensors: views of its memory, without a copy."""

from __future__ import annotations

from . import _core
from ._errors import refuse
from ._frameworks import about, import_numpy, import_torch, is_packed, numpy_dtype, raw_shape, torch_dtype

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    import torch

_CPU = (1, 0)  # DLPack's name for it


class DeviceTensor:
    """A tensor in a device's memory, or the host's, that belongs to no framework.

    The memory stays as long as this object, an array made of it, or a DLPack capsule of it. Frameworks take it as it
    lies: ``torch.from_dlpack(t)``, ``cupy.from_dlpack(t)``, ``numpy.from_dlpack(t)`` on the host; of an OpenCL device
    the capsule's data is the cl_mem, as ``handle`` is. Everything has arrived, so no stream has to be waited for.

    Thread-safe.
    """

    __slots__ = ("_loaded", "__weakref__")

    def __init__(self, loaded: _core.LoadedTensor) -> None:
        self._loaded = loaded

    @property
    def name(self) -> str:
        return self._loaded.name

    @property
    def dtype(self) -> str:
        """The canonical name of its type: "BF16", "F8_E4M3", "Q4_K"."""
        return self._loaded.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions, outermost first, in numbers, also of types that pack several."""
        return self._loaded.shape

    @property
    def nbytes(self) -> int:
        return self._loaded.nbytes

    @property
    def device(self) -> str:
        """ "host", "opencl:0", "cuda:0"."""
        return self._loaded.device

    @property
    def handle(self) -> int:
        """What the driver knows its memory by: an address (host), a CUdeviceptr, a cl_mem; 0 when it has no bytes."""
        return self._loaded.handle

    def download(self) -> np.ndarray:
        """A copy of its bytes on the host: uint8; of types of blocks [..., rows, bytes of a row], of all others one
        dimension, as ``Tensor.raw`` has them. Waits for the device, with the GIL released. Raises IoError."""
        loaded = self._loaded
        out = import_numpy().empty(raw_shape(loaded.dtype, loaded.shape, loaded.nbytes), "uint8")
        loaded.download(out.ctypes.data, out.nbytes)
        return out

    def numpy(self) -> np.ndarray:
        """Its numbers as an array: on the host a view of its memory, from a device a copy. Types of blocks come as
        ``download`` gives them; F4 and F6 with one number to a byte, which is a copy everywhere. BF16, FP8, F4 and F6
        need ml_dtypes. Raises UnsupportedError where numpy has no such type; IoError."""
        loaded = self._loaded
        return as_numpy(loaded, loaded if loaded.on_host else self.download())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False and not self._loaded.on_host:
            raise ValueError("a tensor on a device can't become an array without being copied")
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy and self._loaded.on_host else array

    def __dlpack__(self, *, stream: Any = None, max_version: tuple[int, int] | None = None,
                   dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> Any:
        loaded = self._loaded
        if copy:
            raise BufferError("it is handed over as it lies; copy it there")
        if dl_device is not None and tuple(dl_device) != loaded.dlpack_device:
            raise BufferError(f"it lies on {loaded.device}, and is handed over as it lies")
        raw = about(loaded.dtype)[0] == "block"
        shape = raw_shape(loaded.dtype, loaded.shape, loaded.nbytes) if raw else loaded.shape
        array: Any = loaded.array(raw, shape)
        if array is None:
            raise refuse(f"DLPack has no type for {loaded.dtype}", code="unsupported", tensor=loaded.name,
                         hint=".download() gives its bytes")
        return array.__dlpack__() if max_version is None else array.__dlpack__(max_version=max_version)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._loaded.dlpack_device

    def __repr__(self) -> str:
        return f"<headrace.DeviceTensor {self.name!r}: {self.dtype} {list(self.shape)} on {self.device}>"


def torch_holds(dtype: str, shape: tuple[int, ...], *, tensor: str | None = None) -> bool:
    """Whether a torch tensor can be a view of such memory. With `tensor`, its name: raises where it can't."""
    if about(dtype)[0] == "block":
        return True
    try:
        torch_dtype(dtype, tensor=tensor)
        if dtype == "F4" and (not shape or shape[-1] % 2):
            raise refuse("torch holds F4 in pairs", code="unsupported", tensor=tensor, found=f"rows of {shape[-1:]}")
    except NotImplementedError:
        if tensor is not None:
            raise
        return False
    return True


def view_torch(flat: torch.Tensor, dtype: str, shape: tuple[int, ...], nbytes: int) -> torch.Tensor:
    """Bytes (uint8, one dimension) as a tensor of a type that torch has; types of blocks as rows of bytes."""
    kind, form = _torch_form(dtype, shape, nbytes)
    return flat.view(kind).view(form)


def as_torch(loaded: _core.LoadedTensor) -> torch.Tensor:
    """A view of a tensor on the host, of a type that torch has."""
    torch, nbytes = import_torch(), loaded.nbytes
    kind, form = _torch_form(loaded.dtype, loaded.shape, nbytes)
    flat = torch.frombuffer(loaded, dtype=kind) if nbytes else torch.empty(0, dtype=kind)
    return flat.view(form)


def _torch_form(dtype: str, shape: tuple[int, ...], nbytes: int) -> tuple[torch.dtype, tuple[int, ...]]:
    if about(dtype)[0] == "block":
        return import_torch().uint8, raw_shape(dtype, shape, nbytes)
    return torch_dtype(dtype), (*shape[:-1], shape[-1] // 2) if dtype == "F4" else shape


def as_numpy(loaded: _core.LoadedTensor, memory: Any) -> np.ndarray:
    """An array of the bytes in `memory`: a view of them, but for F4, F6 and strings."""
    np = import_numpy()
    dtype, shape = loaded.dtype, loaded.shape
    if about(dtype)[0] == "block":
        return np.ndarray(raw_shape(dtype, shape, loaded.nbytes), np.uint8, memory)
    if dtype == "STRING":
        return strings(memoryview(memory).cast("B"), shape)
    kind = numpy_dtype(dtype, tensor=loaded.name)
    if is_packed(dtype):
        return _unpacked(np.frombuffer(memory, np.uint8), dtype, kind, shape)
    return np.ndarray(shape, kind, memory)


# ml_dtypes has one number to a byte. By way of float32, which holds all of them, some at a time.
def _unpacked(packed: np.ndarray, dtype: str, kind: Any, shape: tuple[int, ...]) -> np.ndarray:
    np = import_numpy()
    _, elements, size = about(dtype)[:3]
    array = np.empty(shape, kind)
    flat, step = array.reshape(-1), 1 << 20
    for at in range(0, flat.size, step):
        wide = np.empty(min(step, flat.size - at), np.float32)
        part = packed[at // elements * size:(at + wide.size) // elements * size]
        _core.retype(dtype, part.ctypes.data, part.nbytes, "F32", wide.ctypes.data, wide.nbytes)
        flat[at:at + wide.size] = wide
    return array


def strings(data: Any, shape: tuple[int, ...]) -> np.ndarray:
    """TensorFlow.js's strings, each behind its length, as an array of bytes objects."""
    np = import_numpy()
    array = np.empty(shape, object)
    flat, at = array.reshape(-1), 0
    for i in range(flat.size):
        end = at + 4 + int.from_bytes(data[at:at + 4], "little")
        flat[i] = bytes(data[at + 4:end])
        at = end
    return array
