"""DiskMap: checkpoints as a map from name to torch tensor, of which nothing is in memory until it is asked for."""

from __future__ import annotations

import os
import threading
from collections import namedtuple
from collections.abc import Mapping

from . import _core
from ._checkpoint import missing_tensor
from ._checkpoint import open as open_checkpoint
from ._devices import device_name
from ._dtypes import dtype_name
from ._errors import refuse
from ._frameworks import about, import_torch
from ._loaded import as_torch, torch_holds, view_torch
from ._options import plain
from ._renaming import converted_names
from ._sources import location

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    import torch

    from ._types import Bytes, DType, Path


_SOURCE = frozenset(open_checkpoint.__kwdefaults__ or ()) - {"framework", "memory"}

# A tensor as a map gives it: its name in the files, dtype, shape in numbers, bytes; its file's path or URL.
Row = namedtuple("Row", ["name", "dtype", "shape", "nbytes", "file"])
# From so many bytes on, memory of large pages is made of the library's, or a file's pages are used.
_LARGE = 1 << 18


class DiskMap(Mapping):
    """The tensors of one or several checkpoints by name; each is read when it is asked for.

        >>> disk = headrace.DiskMap(["model-1.safetensors", "model-2.safetensors"], torch_dtype=torch.bfloat16)
        >>> disk["blocks.0.weight"].dtype
        torch.bfloat16

    path: a path, folder, index of shards or URL, of any format that Headrace reads, or a list of them. A name that two
        of them have is a ConflictError.
    device: where tensors are given: "cpu", or one of torch's.
    torch_dtype: that numbers are given as (torch.bfloat16, "bf16"), converted while they are read, from types of blocks
        too; integers stay. Without, every tensor is given as it is, types of blocks as rows of bytes (uint8).
    state_dict_converter: a function from a state dict to a state dict that renames. It is called once, with each name
        as its own value, and what it returns says which name is which: ``{"blocks.0.weight": "layers.0.w"}``. Names
        that it leaves out aren't in the map; two may stand for one tensor. One that computes with tensors is an
        UnsupportedError: convert the checkpoint first.
    buffer_size: of tensors' elements, after which others open their files anew. Files are opened once here, so it is
        accepted and not needed.
    memory, threads, nonfinite, and what open() takes to find a source (torch_key, variant, headers, fetch, ...): as for
        headrace.load.

    A tensor is new memory each time that it is asked for, and the caller's own; one that is given on the CPU as it is
    stored may be the file's own pages, as safetensors gives them: keep the file as it is while it is used. Thread-safe;
    reading lets go of the GIL. A file of this machine that was changed or replaced since the map was made is an IoError,
    whoever asks next.

    Raises MissingFileError, FormatError, ConflictError, InvalidArgumentError, UnsupportedError.
    """

    def __init__(self, path: Path | Sequence[Path], device: Any = "cpu", torch_dtype: DType | None = None,
                 state_dict_converter: Callable[[dict[str, str]], Mapping[str, str]] | None = None,
                 buffer_size: int | None = None, *, memory: Bytes | None = None, threads: int | None = None,
                 nonfinite: str | None = None, **source: Any) -> None:
        unknown = [name for name in source if name not in _SOURCE]
        if unknown:
            raise TypeError(f"unexpected keyword argument '{unknown[0]}'")
        paths = path if isinstance(path, (list, tuple)) else [path]
        if not paths:
            raise refuse("path: found an empty list", expected="a path or a list of them")
        self._locations = [location(one, "path") for one in paths]
        self.device = device
        self.torch_dtype = torch_dtype
        self._options = plain({"memory": memory, "threads": threads, "nonfinite": nonfinite, **source})
        self._lock = threading.Lock()
        self._cores: dict[str | None, _core.DiskMap] = {}
        self._own = None if torch_dtype is None else dtype_name(torch_dtype)
        core = self._core(self._own)
        self._signatures = {path: _signature(path) for path in core.files()}
        # Without a converter names are the files'; tens of thousands of them aren't listed before somebody asks.
        self._renamed = None if state_dict_converter is None else converted_names(
            state_dict_converter, core.names(), self._locations[0])

    def __getitem__(self, name: str) -> torch.Tensor:
        torch = import_torch()
        core, row = self._find(name, self._own)
        torch_holds(row.dtype, row.shape, tensor=name)
        device = device_name(self.device)
        lying = core.view(row.name) if row.nbytes >= _LARGE else None
        if lying is not None:
            self._require_same(row)
            tensor = as_torch(lying)
        else:
            tensor = view_torch(self._copy(core, row), row.dtype, row.shape, row.nbytes)
        return tensor if device in ("cpu", "host") else tensor.to(device)

    def __contains__(self, name: object) -> bool:
        if self._renamed is not None:
            return name in self._renamed
        return isinstance(name, str) and self._core(self._own).about(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._core(self._own).names() if self._renamed is None else self._renamed)

    def __len__(self) -> int:
        return len(self._core(self._own) if self._renamed is None else self._renamed)

    __eq__ = object.__eq__  # Mapping's would read everything
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<headrace.DiskMap of {len(self)} tensors in {', '.join(self._locations[:3])}>"

    def about(self, name: str) -> tuple[str, tuple[int, ...], int]:
        """Of a tensor as it is given: the dtype by Headrace's name ("BF16"), the shape in numbers, and its bytes.
        Raises KeyError, as ``map[name]`` does."""
        row = self._find(name, self._own)[1]
        return row.dtype, row.shape, row.nbytes

    def read_into(self, name: str, tensor: torch.Tensor) -> None:
        """Fills a tensor of the same shape, in any memory, with this one's numbers, converted to the type that it has:
        in a contiguous tensor on the CPU they are read where they stay. Raises InvalidArgumentError for another shape;
        what ``map[name]`` raises."""
        torch = import_torch()
        given = self._find(name, self._own)[1]
        if tuple(tensor.shape) != given.shape:
            raise refuse("the tensor to fill has another shape", file=given.file, tensor=name,
                         expected=str(list(given.shape)), found=str(list(tensor.shape)))
        wanted = dtype_name(tensor.dtype, tensor=name)
        if self._own is None and wanted != given.dtype and about(wanted)[4]:
            core, row = self._find(name, wanted)
        else:
            core, row = self._find(name, self._own)
        if row.dtype == wanted and tensor.device.type == "cpu" and tensor.is_contiguous():
            self._read(core, row, tensor.data_ptr())
            return
        if about(row.dtype)[0] == "block":
            raise refuse("types of blocks can't become this type", code="unsupported", file=row.file,
                         tensor=name, found=f"{row.dtype} to {wanted}", hint="give torch_dtype")
        with torch.no_grad():
            tensor.copy_(view_torch(self._copy(core, row), row.dtype, row.shape, row.nbytes))

    def in_place(self, name: str, dtype: torch.dtype, stays: bool = False) -> InPlace | None:
        """The tensor where it lies in its file, its pages in the system's cache. None where it can't be had so: it is
        stored as another type, is small, isn't in a file of this machine, or lies where computing with it could give
        other results than with a copy: numbers of more than 2 bytes not at a multiple of 64. `stays`: once it is brought,
        it is there for long; else up to 4 MiB of its neighbours' pages come with a large one, which makes it faster."""
        core, row = self._find(name, self._own)
        pages = core.in_place(row.name, stays) if row.dtype == dtype_name(dtype, tensor=name) else None
        if pages is None:
            return None
        self._require_same(row)
        return InPlace(pages)

    def in_files(self, names: Iterable[str]) -> bool:
        """All of them are in files of this machine."""
        return all(self._find(name, self._own)[1].file in self._signatures for name in _listed(names))

    def prefetch(self, names: Iterable[str]) -> int:
        """These will be wanted soon: in the background they are read into the system's cache, or, from a server, fetched
        and held until they are released; what is read past that cache is held until it is asked for. Returns at once how
        many of them have to be read or fetched. Raises KeyError for a name that isn't there."""
        return self._core(self._own).prefetch([self._find(name, self._own)[1].name for name in _listed(names)])

    def release(self, names: Iterable[str], page_cache: bool = False) -> None:
        """These won't be wanted for a while: what was fetched ahead, or stays mapped, is freed; with ``page_cache`` the
        system is asked to forget what it has cached of their files too."""
        self._core(self._own).release([self._find(name, self._own)[1].name for name in _listed(names)], page_cache)

    @property
    def location(self) -> str:
        """The first of the paths."""
        return self._locations[0]

    @property
    def statistics(self) -> _core.DiskMapStatistics:
        """Of what was given as ``torch_dtype`` says: ``reads``, ``bytes_read``, ``bytes_given``, ``prefetched``,
        ``cached_bytes``."""
        return self._core(self._own).statistics

    def _find(self, name: str, dtype: str | None) -> tuple[_core.DiskMap, Row]:
        old = name if self._renamed is None else self._renamed.get(name)
        core = self._core(dtype)
        row = core.about(old) if isinstance(old, str) else None
        if row is None:
            raise missing_tensor(name, self, self._locations[0], "the map has no such tensor")
        return core, Row(*row)

    def _core(self, dtype: str | None) -> _core.DiskMap:
        """The library's map whose tensors are given as a type; the files are opened once for each."""
        found = self._cores.get(dtype)
        if found is not None:
            return found
        with self._lock:
            found = self._cores.get(dtype)
            if found is None:
                options = dict(self._options)
                if dtype is not None:
                    options["type"] = dtype
                found = self._cores[dtype] = _core.open_disk_map(self._locations, options)
        return found

    def _read(self, core: _core.DiskMap, row: Row, address: int) -> None:
        core.read(row.name, address, row.nbytes)
        self._require_same(row)

    def _copy(self, core: _core.DiskMap, row: Row) -> torch.Tensor:
        """The tensor's bytes in new memory, which no inference mode or device context of the caller's has a say in."""
        torch = import_torch()
        if row.nbytes < _LARGE:
            flat = torch.empty(row.nbytes, dtype=torch.uint8, device="cpu")
            self._read(core, row, flat.data_ptr())
            return flat
        loaded = core.load(row.name)
        self._require_same(row)
        return torch.frombuffer(loaded, dtype=torch.uint8)

    def _require_same(self, row: Row) -> None:
        noted = self._signatures.get(row.file)
        if noted is not None and _signature(row.file) != noted:
            raise refuse("the file was changed or replaced since the map was made", code="io", file=row.file,
                         tensor=row.name, hint="make a new DiskMap")


class InPlace:
    """A tensor of a DiskMap that is used again and again without a copy of it, as long as the system's cache has it.

    What that has lost since the last use, of a model larger than it, is read past it, so that the rest stays there: into
    memory that is used again once nothing views it. What is written to the tensor stays in this process."""

    __slots__ = ("was_cached", "_pages", "_there", "_brought")

    def __init__(self, pages: _core.InPlace) -> None:
        self.was_cached = False  # the system's cache had it, when it was brought
        self._pages = pages
        # It stays, as it takes no memory while its pages are away.
        self._there = _weight(pages.take())
        self._brought = False

    def bring(self, past_cache: bool = True, stays: bool = False) -> torch.nn.Parameter:
        """The tensor; who looks at it doesn't wait for the disk. `past_cache`: it may be such a copy; if it `stays`, it
        is none of that memory for long. Raises IoError, as ``require_intact``."""
        there = self._pages.bring(past_cache)
        self.was_cached = there is True
        if isinstance(there, bool):
            self._brought = True
            return self._there
        self.let_go()
        return _weight(there, stays, self._there)

    def is_lost(self) -> bool:
        """It was brought, and the system's cache has given most of its pages up: who looks waits for the disk."""
        return self._brought and self._pages.is_lost()

    def let_go(self) -> None:
        """What was brought isn't used any more: pages leave this process's memory. A copy does when nothing views it."""
        if self._brought:
            self._brought = False
            self._pages.let_go()

    def require_intact(self) -> None:
        """Raises IoError when what was seen since it was brought may not have been the file's, as that was written to or
        cut short meanwhile."""
        if self._brought:
            self._pages.require_intact()


def _weight(loaded: _core.LoadedTensor, copied: bool = False,
            like: torch.Tensor | None = None) -> torch.nn.Parameter:
    """A parameter, but no inference tensor: a thread that is in no such mode may be the next to use it. `like`: it has
    this one's type and shape, which needn't be asked for then."""
    torch = import_torch()
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False):
            return _weight(loaded, copied, like)
    tensor = as_torch(loaded) if like is None else torch.frombuffer(loaded, dtype=like.dtype).view(like.shape)
    return torch.nn.Parameter(tensor.clone() if copied else tensor, requires_grad=False)


def _signature(path: str) -> tuple | None:
    """What changes when a file is changed or replaced."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _listed(names: Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
