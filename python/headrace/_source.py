"""What is saved: tensors of torch, arrays of numpy and bytes, as memory to write from."""

from __future__ import annotations

import sys

from . import _core
from ._dtypes import UNPACKED, dtype_name
from ._errors import refuse
from ._tensor import Tensor

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# A tensor that doesn't lie in one piece, or not in this machine's memory, is brought there in parts of so many bytes.
PART = 16 << 20


class Part:
    """Bytes of a tensor, and where they begin in it: they stay at their address while ``owner`` lives."""

    __slots__ = ("first_byte", "address", "nbytes", "owner")

    def __init__(self, first_byte: int, address: int, nbytes: int, owner: Any) -> None:
        self.first_byte = first_byte
        self.address = address
        self.nbytes = nbytes
        self.owner = owner


def is_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_bytes(value: Any) -> bool:
    return isinstance(value, (bytes, bytearray, memoryview))


def loaded(value: Any, tensor: str) -> Any:
    """What was given, or the numpy array that it becomes: read once, if it lies in a file."""
    return value if is_torch(value) or isinstance(value, Tensor) else as_array(value, tensor)


def as_array(value: Any, tensor: str) -> Any:
    """A numpy array, without a copy where it is one."""
    import numpy

    if isinstance(value, numpy.ma.MaskedArray):
        raise refuse("a masked array can't be saved: its mask would be lost", tensor=tensor,
                     hint="give its .filled(...)")
    array = value.view(numpy.ndarray) if isinstance(value, numpy.ndarray) else numpy.asarray(value)
    if not _is_numeric(array.dtype):
        raise refuse("it holds no numbers", tensor=tensor, found=f"{type(value).__name__} of {array.dtype}")
    return array


def _is_numeric(dtype: Any) -> bool:
    is_ml_dtype = dtype.kind == "V" and dtype.names is None and not dtype.name.startswith("void")
    return dtype.kind in "biufc" or is_ml_dtype


def describe(value: Any, tensor: str) -> tuple[str, tuple[int, ...]]:
    """The dtype, by Headrace's name, and the shape that a value has in a file. Nothing is read."""
    if isinstance(value, Tensor):
        return value.dtype, value.shape
    if is_torch(value):
        _check_layout(value, tensor)
        shape = tuple(value.shape)
        if str(value.dtype) == "torch.float4_e2m1fn_x2":  # two elements a byte
            return "F4", (*shape[:-1], 2 * shape[-1]) if shape else (2,)
        return dtype_name(value.dtype, tensor=tensor), shape
    array = as_array(value, tensor)
    return dtype_name(array.dtype, tensor=tensor), tuple(array.shape)


def parts(value: Any, tensor: str, *, any_device: bool = False) -> Iterator[Part]:
    """The bytes of a tensor, row-major and little-endian: at once where they lie so, else in parts of at most PART
    bytes. Raises InvalidArgumentError for a tensor without data, and for one of another device unless `any_device`.
    """
    if is_torch(value):
        return _torch_parts(value, tensor, any_device)
    # A tensor of another file is read whole: its bytes as they are there.
    return _numpy_parts(as_array(value.raw("np") if isinstance(value, Tensor) else value, tensor))


def _torch_parts(value: Any, tensor: str, any_device: bool) -> Iterator[Part]:
    import torch

    value = value.detach()
    _check_torch(value, tensor, any_device)
    if value.dtype == getattr(torch, "float4_e2m1fn_x2", None):
        value = value.view(torch.uint8)
    size = value.element_size()
    here = value.device.type == "cpu" and not value.is_conj() and not value.is_neg()
    if here and value.is_contiguous():
        yield Part(0, value.data_ptr(), value.numel() * size, value)
        return
    for first, part in _cut(value, size * value.numel()):
        part = part.resolve_conj().resolve_neg().cpu().contiguous()
        yield Part(first, part.data_ptr(), part.numel() * size, part)


def _check_layout(value: Any, tensor: str) -> None:
    import torch

    if value.layout != torch.strided or value.is_quantized or value.is_nested:
        kind = "quantized" if value.is_quantized else "nested" if value.is_nested else str(value.layout)
        raise refuse("only dense tensors can be saved", tensor=tensor, found=kind,
                     hint="give its .to_dense() or .dequantize()")
    if hasattr(value, "full_tensor"):  # a DTensor: its parts are with other processes
        raise refuse("the tensor is distributed", tensor=tensor, hint="give its .full_tensor()")


def _check_torch(value: Any, tensor: str, any_device: bool) -> None:
    _check_layout(value, tensor)
    if value.device.type == "meta":
        raise refuse("the tensor is on the meta device: it has no data", tensor=tensor)
    if value.device.type != "cpu" and not any_device:
        raise refuse("the tensor is on another device", tensor=tensor, expected="cpu", found=str(value.device),
                     hint="give its .cpu(), or use headrace.torch.save_streaming, which moves one tensor at a time")
    if not has_data(value):
        raise refuse("the tensor has no memory of its own", tensor=tensor, found=type(value).__name__,
                     hint="its storage was freed, or it only stands for another one")


def has_data(value: Any) -> bool:
    """False for torch tensors whose memory was freed, and for those that stand for others (wrappers, fakes)."""
    if value.numel() == 0:
        return True
    try:
        storage = value.untyped_storage()
        if storage.device.type == "meta" or storage.data_ptr() == 0 or value.data_ptr() == 0:
            return False
    except RuntimeError:
        return False
    last = sum((extent - 1) * stride for extent, stride in zip(value.shape, value.stride()))
    return (value.storage_offset() + last + 1) * value.element_size() <= storage.nbytes()


def _numpy_parts(array: Any) -> Iterator[Part]:
    import numpy

    if array.dtype.name in UNPACKED:
        yield from _packed_parts(array)
        return
    swapped = array.dtype.byteorder == ">" or array.dtype.byteorder == "=" and sys.byteorder == "big"
    if array.flags.c_contiguous and not swapped:
        yield Part(0, _address(array), array.nbytes, array)
        return
    for first, part in _cut(array, array.nbytes):
        part = numpy.ascontiguousarray(part, dtype=array.dtype.newbyteorder("<") if swapped else None)
        yield Part(first, _address(part), part.nbytes, part)


def _packed_parts(array: Any) -> Iterator[Part]:
    """Of a type that a file packs: by way of float32, which holds all of its numbers."""
    import numpy

    dtype = UNPACKED[array.dtype.name]
    flat, step = array.reshape(-1), PART // 4
    for i in range(0, len(flat), step):
        wide = flat[i:i + step].astype(numpy.float32)
        if len(wide) * _BITS[dtype] % 8:
            raise refuse(f"{dtype} is packed into bytes, and these are no whole number", found=f"{len(flat)} elements")
        part = numpy.empty(len(wide) * _BITS[dtype] // 8, numpy.uint8)
        _core.retype("F32", _address(wide), wide.nbytes, dtype, _address(part), part.nbytes)
        yield Part(i * _BITS[dtype] // 8, _address(part), part.nbytes, part)


_BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}


def _address(array: Any) -> int:
    return array.__array_interface__["data"][0]


def _cut(value: Any, nbytes: int, first: int = 0) -> Iterator[tuple[int, Any]]:
    """Cuts along the outermost dimensions, down to PART bytes; nothing is copied. Yields first bytes and parts."""
    if nbytes <= PART or not value.shape:
        yield first, value
        return
    rows = value.shape[0]
    row = nbytes // rows
    if row > PART:
        for i in range(rows):
            yield from _cut(value[i], row, first + i * row)
        return
    step = PART // row
    for i in range(0, rows, step):
        yield first + i * row, value[i:i + step]
