"""Tensor: one tensor of a checkpoint, read when it is asked for."""

from __future__ import annotations

from ._dtypes import dtype_name
from ._errors import refuse
from ._frameworks import about, import_numpy, import_torch, is_packed, numpy_dtype, raw_shape, torch_dtype
from ._index import Selection
from ._loaded import strings

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    import torch

    from . import _core

_CPU = 1  # DLPack's number for it


class Tensor:
    """A tensor in an open checkpoint: its header is known, its numbers are read anew each time that they are asked for.

    ``t[10:20]``, ``t[..., ::2]``, ``t[-1]`` read no more than they return and give an array of the framework that the
    checkpoint was opened for (numpy, unless told otherwise). Ints, slices with any steps and one Ellipsis are taken.
    ``numpy``, ``torch``, ``raw``, ``numpy.asarray(t)`` and ``torch.from_dlpack(t)`` read all of it, the first two also
    a part.

    What is returned is a new array that owns its memory, writable, row-major; nothing of it is shared with the file or
    with another call. Types of blocks (Q4_K, …) are decoded to float32. Large tensors are read on several threads;
    the GIL is released, and Ctrl-C ends a read. One of a URL or a pipe can only be ended by giving the source up: its
    checkpoint reads nothing afterwards.

    Thread-safe. Raises IoError, FormatError, UnsupportedError (the framework has no such type), InvalidArgumentError.
    """

    __slots__ = ("_entry", "_framework")

    def __init__(self, entry: _core.Entry, framework: str | None) -> None:
        self._entry = entry
        self._framework = framework

    @property
    def name(self) -> str:
        return self._entry.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions, outermost first; of F4 and F6 and types of blocks too, in numbers, not in bytes."""
        return self._entry.shape

    @property
    def dtype(self) -> str:
        """The canonical name of its type in the file: "BF16", "F8_E4M3", "Q4_K"."""
        return self._entry.dtype

    @property
    def nbytes(self) -> int:
        """Bytes that it takes as the type that it has in the file."""
        return self._entry.nbytes

    @property
    def ndim(self) -> int:
        return len(self._entry.shape)

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return self._entry.size

    def __len__(self) -> int:
        shape = self.shape
        if not shape:
            raise TypeError("len() of a scalar tensor")
        return shape[0]

    def __repr__(self) -> str:
        return f"<headrace.Tensor {self.name!r}: {self.dtype} {list(self.shape)}>"

    def __getitem__(self, index: Any) -> Any:
        return self.torch(index) if self._framework == "pt" else self.numpy(index)

    def numpy(self, index: Any = ..., *, dtype: Any = None) -> np.ndarray:
        """The tensor, or the part that ``index`` selects, as a numpy array.

        ``dtype``: a floating type to convert to on the way ("F32", numpy.float16, ml_dtypes.bfloat16, …), rounding to
        nearest even; without, the type of the file, float32 for types of blocks. The conversion goes piece by piece, so
        that it takes a few MiB beside the result. BF16, FP8, F4 and F6 need ml_dtypes; the last two come with one
        number to a byte. TensorFlow.js's strings come as an array of ``bytes`` objects. Steps below 0 give a view of what was
        read.
        """
        np = import_numpy()
        entry = self._entry
        source = entry.dtype
        if source == "STRING":
            return self._strings()[index]
        target = self._target(source, dtype)
        if is_packed(target):
            return self._unpacked(index, target)
        kind = numpy_dtype(target, tensor=entry.name)
        selection, shape, ranges = self._select(index)
        array = np.empty(shape, kind)
        entry.read(array.ctypes.data, array.nbytes, ranges, None if target == source else target)
        return selection.finish(array, np.flip) if selection else array

    def torch(self, index: Any = ..., *, dtype: Any = None, device: Any = None) -> torch.Tensor:
        """The tensor, or the part that ``index`` selects, as a torch tensor, on the CPU or on ``device``.

        ``dtype``: as for ``numpy``, torch.bfloat16 and the like too. F4 comes as torch.float4_e2m1fn_x2, whose last
        dimension counts pairs, and can be cut between pairs only. torch has no F6: ask for another ``dtype``.
        Steps below 0 give a copy of what was read.
        """
        torch = import_torch()
        entry = self._entry
        source = entry.dtype
        target = self._target(source, dtype)
        kind = torch_dtype(target, tensor=entry.name)
        selection, shape, ranges = self._select(index)
        if target == "F4":
            shape = self._pairs(selection, shape)
        tensor = torch.empty(shape, dtype=kind)
        entry.read(tensor.data_ptr(), tensor.numel() * tensor.element_size(), ranges,
                   None if target == source else target)
        if selection:
            tensor = selection.finish(tensor, torch.flip)
        return tensor if device is None else tensor.to(device)

    def raw(self, framework: str | None = None) -> Any:
        """The tensor's bytes, little-endian, as an array of uint8 of the checkpoint's framework, or of the one named.

        Types of blocks have the shape [..., rows, bytes of a row], as the gguf package shows them; all others one
        dimension, F4 and F6 packed as they are in the file.
        """
        entry = self._entry
        shape = raw_shape(entry.dtype, entry.shape, entry.nbytes)
        array: Any
        if (framework or self._framework) == "pt":
            torch = import_torch()
            array = torch.empty(shape, dtype=torch.uint8)
            address = array.data_ptr()
        else:
            np = import_numpy()
            array = np.empty(shape, np.uint8)
            address = array.ctypes.data
        entry.read(address, entry.nbytes, None, None)
        return array

    def read_into(self, buffer: Any) -> None:
        """Fills a contiguous, writable buffer of exactly ``nbytes`` bytes (a bytearray, a numpy array, a shared
        memory's ``buf``) with the tensor's bytes, as ``raw`` gives them."""
        self._entry.read_into(buffer)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("a tensor in a file can't become an array without being read into new memory")
        array = self.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __dlpack__(self, *, stream: Any = None, max_version: tuple[int, int] | None = None, dl_device: Any = None,
                   copy: bool | None = None) -> Any:
        if copy is False:
            raise BufferError("a tensor in a file can't be handed over without being read into new memory")
        if dl_device is not None and tuple(dl_device) != (_CPU, 0):
            raise BufferError("a tensor in a file is read into memory of the CPU")
        source = self.dtype
        array: Any = self._entry.array("F32" if about(source)[0] == "block" else None)
        if array is None:
            raise refuse(f"DLPack has no type for {source}", code="unsupported", tensor=self.name,
                         hint='.numpy(dtype="F32") decodes it, .raw() gives its bytes')
        return array.__dlpack__() if max_version is None else array.__dlpack__(max_version=max_version)

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU, 0

    def _target(self, source: str, dtype: Any) -> str:
        kind, _, size = about(source)[:3]
        if dtype is None:
            return "F32" if kind == "block" else source
        target = dtype_name(dtype)
        if target == source:
            return target
        if kind == "integer" and size > 2:
            raise refuse(f"{source} isn't converted on the way: not every number would survive", tensor=self.name,
                         hint="read it as it is, and convert the array")
        if is_packed(target) or not about(target)[4]:
            raise refuse(f"numbers can't be read as {target}", tensor=self.name, expected="a floating type",
                         hint="read it as it is, and convert the array")
        return target

    def _select(self, index: Any) -> tuple[Selection | None, tuple[int, ...], list | None]:
        shape = self._entry.shape
        if index is ...:
            return None, shape, None
        selection = Selection(index, shape, self._entry.name)
        return selection, selection.shape, selection.ranges

    def _pairs(self, selection: Selection | None, shape: tuple[int, ...]) -> tuple[int, ...]:
        last = len(shape) - 1
        whole = selection is None or (last not in selection.drop and last not in selection.flip)
        if last < 0 or not whole or shape[-1] % 2:
            raise refuse("torch holds F4 in pairs, which can't be cut", tensor=self.name,
                         hint='dtype="F32" decodes them, .raw() gives their bytes')
        return (*shape[:-1], shape[-1] // 2)

    # ml_dtypes has one number to a byte. By way of float32, which holds all of them, a few rows at a time.
    def _unpacked(self, index: Any, target: str) -> np.ndarray:
        np = import_numpy()
        kind = numpy_dtype(target, tensor=self.name)
        selection, shape, ranges = self._select(index)
        array = np.empty(shape, kind)
        part = np.empty(shape[1:], np.float32)
        if not shape or part.nbytes == 0:
            return self.numpy(index, dtype="F32").astype(kind)
        rows = max(1, (4 << 20) // part.nbytes)
        first, count, step = ranges[0] if ranges else (0, shape[0], 1)
        rest = ranges[1:] if ranges else [(0, size, 1) for size in shape[1:]]
        for at in range(0, count, rows):
            part = np.empty((min(rows, count - at), *shape[1:]), np.float32)
            self._entry.read(part.ctypes.data, part.nbytes, [(first + at * step, len(part), step), *rest], "F32")
            array[at:at + len(part)] = part
        return selection.finish(array, np.flip) if selection else array

    def _strings(self) -> np.ndarray:
        data = bytearray(self.nbytes)
        self.read_into(data)
        return strings(data, self.shape)
