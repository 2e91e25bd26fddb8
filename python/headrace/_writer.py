"""Writer: a checkpoint written tensor by tensor, larger than memory if need be."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping

from . import _core
from ._dtypes import dtype_name
from ._errors import refuse
from ._options import byte_count, count
from ._source import describe, is_bytes, loaded, parts

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future
    from typing import Any

    from ._types import Bytes, OutputPath


def _spec(tensor: Any) -> tuple[str, str, tuple[int, ...], str | None]:
    """(name, dtype, shape, dtype given or None) of what a caller declares."""
    try:
        name, dtype, shape, *given = tensor
        if not isinstance(name, str) or isinstance(shape, (str, bytes)) or len(given) > 1:
            raise TypeError
        shape = tuple(operator.index(extent) for extent in shape)
    except (TypeError, ValueError):
        raise refuse("a tensor is declared as (name, dtype, shape) or (name, dtype, shape, dtype given)",
                     found=repr(tensor)[:100]) from None
    if not all(0 <= extent < 1 << 64 for extent in shape):
        raise refuse("a tensor's extents are from 0 to 2**64 - 1", tensor=name, found=str(list(shape)))
    source = given[0] if given else None
    return name, dtype_name(dtype, tensor=name), shape, None if source is None else dtype_name(source, tensor=name)


def specs_of(tensors: Any) -> list[tuple[str, str, tuple[int, ...], str | None]]:
    """Of a list of declarations, or of a mapping of names to (dtype, shape) or to tensors and arrays."""
    if not isinstance(tensors, Mapping):
        return [_spec(tensor) for tensor in tensors]
    specs = []
    for name, value in tensors.items():
        if isinstance(value, (tuple, list)):
            specs.append(_spec((name, *value)))
        else:
            specs.append((name, *describe(value, name), None))
    return specs


def _shown(dtype: str, shape: Iterable[int]) -> str:
    return f"{dtype} {list(shape)}"


class Writer:
    """Writes a checkpoint whose tensors are declared first and then come in any order, from any thread.

    The exact header and the file's size are there from the start, so the order can't matter and nothing is ever held
    back: memory stays at what the caller has plus a few MiB. Nothing appears under ``path`` before ``commit()``; a
    writer that is dropped, or left by an exception, leaves nothing behind::

        with headrace.Writer("model.safetensors", [("w", "BF16", (4096, 4096))], metadata={"format": "pt"}) as writer:
            writer.write("w", tensor)

    Leaving the ``with`` block commits.

    path: ends in .safetensors or .gguf, unless ``to`` says which.
    tensors: (name, dtype, shape) of each, or (name, dtype, shape, dtype given) to have it converted on the way (F32 to
        BF16, or to a block type in GGUF); or a mapping of names to (dtype, shape), tensors or arrays. dtypes by any
        name ("BF16", "bfloat16", "Q8_0") or as torch.bfloat16, numpy.float32.
    metadata: of str to str for safetensors; GGUF takes numbers, bools and lists too.
    shard_size: bytes of tensors that a file shall hold at most, as a number or "5GB".
    force: replace an existing file.
    header_reserve: bytes to keep free in the header of a safetensors file for ``declare()``.
    temporary: the name, in the same folder, that the file has until it is committed; None: none.
    nonfinite: "refuse" or "keep" numbers that the type of a converted tensor can't represent.
    memory, threads: for converting; bytes as a number or "64MiB", threads at most at once (0: one per core).

    Raises InvalidArgumentError, UnsupportedError (what the format can't hold), ConflictError (the path exists),
    NoSpaceError, IoError. Any method may be called from any thread.
    """

    def __init__(self, path: OutputPath, tensors: Any = (), *, metadata: Mapping[str, Any] | None = None,
                 shard_size: Bytes | None = None, to: str | None = None, force: bool = False,
                 header_reserve: Bytes = 0, temporary: str | None = None, nonfinite: str = "refuse",
                 memory: Bytes | None = None, threads: int = 0) -> None:
        if nonfinite not in ("refuse", "keep"):
            raise refuse(f"nonfinite: {nonfinite!r}", expected='"refuse" or "keep"')
        if to is not None and not isinstance(to, str):
            raise refuse(f"to: {to!r}", expected='"safetensors" or "gguf"')
        specs = specs_of(tensors)
        self._declared = {name: (given or dtype, shape) for name, dtype, shape, given in specs}
        self._path = os.fsdecode(path)
        self._checkpoint: _core.CheckpointWriter | None = _core.CheckpointWriter(
            self._path, specs, to=to, metadata=dict(metadata or {}), force=force,
            shard_size=byte_count(shard_size, "shard_size"), header_reserve=byte_count(header_reserve, "header_reserve"),
            temporary=os.fsdecode(temporary or ""),
            keep_nonfinite=nonfinite == "keep", memory=byte_count(memory, "memory"), threads=count(threads, "threads", 0, 1 << 16))
        self._open = True

    def declare(self, name: str, dtype: Any, shape: Iterable[int], source_dtype: Any = None) -> None:
        """One more tensor, in a single safetensors file that was given a ``header_reserve``.

        Raises InvalidArgumentError when that is used up, UnsupportedError for GGUF and for shards.
        """
        name, dtype, shape, given = _spec((name, dtype, shape, source_dtype))
        self._core.declare(name, dtype, shape, given)
        self._declared[name] = (given or dtype, shape)

    def write(self, name: str, tensor: Any, *, any_device: bool = False) -> None:
        """A whole tensor: of torch, of numpy, or bytes (row-major, little-endian).

        Its dtype and shape must be the declared ones. One that doesn't lie in one piece of memory is written in parts,
        never copied whole. `any_device`: it may lie on another device than the CPU and is brought over in parts.
        """
        if is_bytes(tensor):
            self._core.write_buffer(name, tensor)
            return
        tensor = loaded(tensor, name)
        self._check(name, tensor)
        for part in parts(tensor, name, any_device=any_device):
            self._core.write_address(name, part.first_byte, part.address, part.nbytes)

    def write_at(self, name: str, first_byte: int, data: Any) -> None:
        """Some bytes of a tensor: anything with the buffer protocol, or a tensor or array, whatever its shape.

        Parts may come in any order and be cut anywhere, each byte once; ``first_byte`` counts in the type given.
        """
        first_byte = count(first_byte, "first_byte", 0, (1 << 64) - 1)
        if is_bytes(data):
            self._core.write_buffer(name, data, first_byte)
            return
        for part in parts(loaded(data, name), name):
            self._core.write_address(name, first_byte + part.first_byte, part.address, part.nbytes)

    def commit(self) -> str:
        """Flushes the file, gives it its name, and returns ``path``.

        Raises InvalidArgumentError naming the tensors of which bytes are missing; the path is as it was then.
        Ctrl-C is heard when it is done.
        """
        self._core.commit()
        self._open = False
        return self.path

    def commit_async(self) -> Future[str]:
        """Checks that nothing is missing, and leaves flushing and renaming to another thread.

        Returns at once with a future of ``path``, which raises what went wrong. A program doesn't end before it is
        done.
        """
        pending = self._core.commit_async()
        self._open = False
        return in_background(pending.wait, self.path)

    def leave(self) -> str:
        """Completes the file under its ``temporary`` name and returns that path: fsync and rename are the caller's."""
        left = self._core.leave()
        self._open = False
        return os.fspath(left)

    def abandon(self) -> None:
        """Gives the checkpoint up; nothing is left of it."""
        if self._checkpoint is not None:
            self._checkpoint.abandon()
        self._checkpoint = None
        self._open = False

    @property
    def files(self) -> list[str]:
        """The files that commit() makes: one, or shards and their index."""
        return [os.fspath(file) for file in self._core.files()]

    @property
    def path(self) -> str:
        """What to open afterwards: the file, the index of shards, the first part of a split GGUF."""
        files = self.files
        return self._path if len(files) == 1 else files[-1] if files[-1].endswith(".index.json") else files[0]

    @property
    def _core(self) -> _core.CheckpointWriter:
        if self._checkpoint is None:
            raise refuse("the checkpoint was given up", file=self._path)
        return self._checkpoint

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if not self._open:
            return
        if kind is not None:
            self.abandon()
            return
        try:
            self.commit()
        except BaseException:
            self.abandon()
            raise

    def _check(self, name: str, tensor: Any) -> None:
        declared = self._declared.get(name)
        if declared is None:
            raise refuse("the tensor was not declared", file=self._path, tensor=name)
        dtype, shape = describe(tensor, name)
        if (dtype, shape) != declared:
            raise refuse("the tensor differs from its declaration", file=self._path, tensor=name,
                         expected=_shown(*declared), found=_shown(dtype, shape))


def in_background(work: Any, result: Any) -> Future[Any]:
    """A future of `result`, once `work()` has returned on a thread that the program's end waits for."""
    import threading
    from concurrent.futures import Future

    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="headrace-commit").start()
    return future
