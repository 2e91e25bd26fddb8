"""load_file: all tensors of a checkpoint at once."""

from __future__ import annotations

import os
import sys

from . import _core
from ._checkpoint import framework_named, open_core
from ._errors import refuse
from ._frameworks import import_numpy, import_torch, is_packed, numpy_dtype, torch_dtype
from ._tensor import Tensor

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from typing import Any


def load_file(path: Any, device: Any = "cpu", framework: str | None = None, *, backend: str = "mmap") -> dict[str, Any]:
    """All tensors of a checkpoint, as a dict of arrays by name.

    ``path``: whatever ``headrace.open`` takes. ``framework``: "np" or "pt"; without, torch where the program has
    imported it, else numpy. ``device``: for torch.

    ``backend="mmap"``: tensors that lie in a local file just as they are in memory (safetensors, GGUF's plain types)
    come as views of the mapped file, which is brought into memory first: nothing is copied. They are writable;
    what is written stays in this process. As long as one of them is used, nobody may shorten the file: reading what is
    gone ends the process. ``backend="pread"`` reads into memory of the process's own, and so do URLs, archives,
    and types that have to be decoded, whatever the backend is.

    Raises what ``headrace.open`` and ``Tensor.numpy`` raise. Ctrl-C ends it.
    """
    kind = framework_named(framework) or ("pt" if "torch" in sys.modules else "np")
    return load_torch(path, device, backend) if kind == "pt" else load_numpy(path, backend)


def load_numpy(path: Any, backend: str = "mmap") -> dict[str, Any]:
    make = import_numpy().ndarray
    core = open_core(path)
    rows = core.layout()
    maps = _map_files(core, rows, backend)
    types: dict[str, Any] = {}
    loaded = {}
    for index, name, dtype, shape, _, file, offset in rows:
        mapping = None if offset is None or is_packed(dtype) else maps[file]
        if mapping is None:
            loaded[name] = Tensor(core.at(index), "np").numpy()
            continue
        kind = types.get(dtype)
        if kind is None:
            kind = types[dtype] = numpy_dtype(dtype, tensor=name)
        loaded[name] = make(shape, kind, mapping, offset)
    return loaded


def load_torch(path: Any, device: Any = "cpu", backend: str = "mmap") -> dict[str, Any]:
    torch = import_torch()
    core = open_core(path)
    rows = core.layout()
    maps = _map_files(core, rows, backend)
    types: dict[str, Any] = {}
    loaded = {}
    frombuffer = torch.frombuffer
    for index, name, dtype, shape, elements, file, offset in rows:
        mapping = None if offset is None or is_packed(dtype) else maps[file]
        if mapping is None:
            loaded[name] = Tensor(core.at(index), "pt").torch()
            continue
        kind = types.get(dtype)
        if kind is None:
            kind = types[dtype] = torch_dtype(dtype, tensor=name)
        flat = frombuffer(mapping, dtype=kind, count=elements, offset=offset)
        loaded[name] = flat if len(shape) == 1 else flat.view(shape)
    if str(device) != "cpu":
        loaded = {name: tensor.to(device) for name, tensor in loaded.items()}
    return loaded


def _map_files(core: _core.Checkpoint, rows: list, backend: str) -> list:
    """Of each file its memory, or None. A file that would fill the machine's memory is left to come page by page."""
    if backend not in ("mmap", "pread"):
        raise refuse("there is no such backend", expected='"mmap" or "pread"', found=repr(backend))
    maps: list = [None] * len(core.files)
    if backend == "pread":
        return maps
    room = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4
    for file in {row[5] for row in rows if row[6] is not None and not is_packed(row[2])}:
        mapping = maps[file] = core.map(file)
        if mapping is not None and core.nbytes <= room:
            mapping.populate()
    return maps
