"""load: the tensors of a checkpoint on a device, by name."""

from __future__ import annotations

import os
import weakref
from collections import OrderedDict

from . import _core
from ._errors import refuse
from ._loaded import DeviceTensor
from ._options import byte_count
from ._source import describe, is_torch, parts
from ._stream import start

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from ._core import CancelToken
    from ._types import Bytes, DType, OnProgress, OutputPath, Path


class Weights(dict):
    """Tensors by name, in the checkpoint's order, as load() gives them: a dict that also knows where they come from.

    A tensor's memory goes with the last use of the tensor, not with the dict. Copied as a plain dict, and pickled as an
    OrderedDict, as state dicts are.
    """

    __slots__ = ("_stream", "_origins", "__weakref__")

    def __init__(self, stream: _core.WeightStream, tensors: Iterable[tuple[str, Any]]) -> None:
        super().__init__(tensors)
        self._stream = stream
        self._origins: dict[str, tuple[Any, Any, Any]] = {}  # of those that lie as a file has them

    @property
    def metadata(self) -> dict[str, Any]:
        """What the source says about itself, as ``Checkpoint.metadata``."""
        return self._stream.metadata

    @property
    def report(self) -> _core.LoadReport:
        """What loading came to: tensors, bytes, seconds."""
        return self._stream.report

    def save(self, path: OutputPath, *, metadata: Mapping[str, Any] | None = None, to: str | None = None,
             shard_size: Bytes | None = None, force: bool = False) -> str:
        """Writes what the dict holds to a checkpoint, one tensor at a time; returns what to open.

        Tensors are written as they are now, changes to host memory included; of one on a device its host copy, as it
        was loaded. Values that were put into the dict are written too, as ``Writer.write`` does.

        path: ends in .safetensors or .gguf, unless ``to`` says which.
        metadata: pairs in front of the source's, which are written in the language of the format.
        shard_size, force: as for Writer.

        Raises UnsupportedError, before any file is touched, when a tensor is on a device and the host has no copy:
        load with ``keep_host_copy=True``, or save a torch module with headrace.torch.save_streaming; what Writer
        raises.
        """
        text = os.fsdecode(path)
        to = to or ("gguf" if text.lower().endswith(".gguf") else "safetensors")
        specs, values = [], {}
        for name, value in self.items():
            dtype, shape, values[name] = self._as_written(name, value, text)
            specs.append((name, dtype, shape, None))
        writer = _core.CheckpointWriter(text, specs, to=to, metadata=dict(metadata or {}), force=force,
                                        shard_size=byte_count(shard_size, "shard_size"),
                                        source_metadata=self._stream.metadata_for(to))
        try:
            for name, value in values.items():
                if isinstance(value, _core.LoadedTensor):
                    writer.write_buffer(name, value)
                    continue
                for part in parts(value, name):
                    writer.write_address(name, part.first_byte, part.address, part.nbytes)
            writer.commit()
        except BaseException:
            writer.abandon()
            raise
        files = [os.fspath(file) for file in writer.files()]
        return text if len(files) == 1 else files[-1] if files[-1].endswith(".index.json") else files[0]

    def _as_written(self, name: str, value: Any, path: str) -> tuple[str, tuple[int, ...], Any]:
        """Its dtype and shape in a file, and what has its bytes."""
        if isinstance(value, DeviceTensor):
            loaded = value._loaded
        else:
            tensor, origin, layout = self._origins.get(name, (None, None, None))
            same = tensor is not None and tensor() is value and layout in (None, _layout(value))
            loaded = origin() if same else None
        if loaded is None:
            on_device = is_torch(value) and value.device.type not in ("cpu", "meta")
            if on_device:
                raise _streamed(path, name, str(value.device))
            return (*describe(value, name), value)
        if not loaded.has_host_bytes:
            raise _streamed(path, name, loaded.device)
        return loaded.dtype, loaded.shape, loaded

    def __reduce__(self) -> tuple:
        return OrderedDict, (), None, None, iter(self.items())  # which torch.load takes too

    def copy(self) -> dict[str, Any]:
        return dict(self)


def _streamed(path: str, name: str, device: str) -> Exception:
    return refuse("these weights were streamed to a device, and the host has no copy to save", code="unsupported",
                  file=path, tensor=name, found=f"on {device}",
                  hint="load them with keep_host_copy=True, convert the checkpoint instead, or use "
                       "headrace.torch.save_streaming, which fetches one tensor at a time")


def load(
    location: Path,
    device: Any = "cpu",
    *,
    framework: str | None = None,
    stream_weights: bool = True,
    host_threshold: int | None = None,
    keep_host_copy: bool = False,
    dtype: DType | None = None,
    type: DType | None = None,
    rules: str | Sequence[str] | Mapping[str, DType] | None = None,
    rules_file: Path | Sequence[Path] | None = None,
    tensor_type_rules: str | None = None,
    component: str | None = None,
    select: str | Sequence[str] | None = None,
    drop: str | Sequence[str] | None = None,
    strip_prefix: str | Sequence[str] | None = None,
    rename: str | Sequence[str] | Mapping[str, str] | None = None,
    prefix: str | None = None,
    split: str | Sequence[str] | Mapping[str, Sequence[str] | Mapping[str, int]] | None = None,
    concat: str | Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    prune_layers: str | int | Sequence[int] | None = None,
    strict: Iterable[str] | None = None,
    nonfinite: str | None = None,
    host_reads: str | None = None,
    alignment: int | None = None,
    huge_pages: bool = True,
    memory: int | str | None = None,
    threads: int | None = None,
    progress: OnProgress | None = None,
    on_progress: OnProgress | None = None,
    on_tensor: Callable[[str, Any], object] | None = None,
    cancel: CancelToken | None = None,
    **source: Any,
) -> Weights:
    """Loads a checkpoint of any format to a device's memory, or the host's, as its bytes arrive.

        >>> weights = headrace.load("model.safetensors", "cuda:0", dtype="bf16")
        >>> weights["model.embed_tokens.weight"].device
        device(type='cuda', index=0)

    location: a path, a folder, an index of shards, https://..., hf://owner/repo/file[@revision], or "-".
    device: "cpu" (or "host"), "cuda:0", "opencl:0", a torch.device, or torch's number of a GPU; see devices().
    framework: "torch": tensors, on "cpu" without a copy, on CUDA in memory of torch's own allocator, of this thread's
        current stream. "numpy": arrays on the host, without a copy but for F4, F6 and strings. "dlpack": DeviceTensor,
        which any framework takes through DLPack. Without: torch's, where torch is installed and can use the device and
        hold the type; else DeviceTensor.
        Types of blocks (Q4_K, ...) come as rows of bytes (uint8), as ``Tensor.raw`` gives them; ask for a ``dtype`` to
        have them decoded. F4 comes as torch.float4_e2m1fn_x2, and in numpy with one number to a byte.
    stream_weights: False: all tensors are gathered on the host first, and go to the device when the last has come.
    host_threshold: tensors of fewer elements stay on the host, though the device is another; 0 for torch, whose
        modules want all of them on one device, else 1000.
    keep_host_copy: of the tensors on the device: Weights.save() needs them.

    Types and names, as for convert(), in this order: component, select, drop, strip_prefix, rename, prefix, split,
    concat, prune_layers; then rules, rules_file, tensor_type_rules; then
    dtype, or type: of every tensor that can take it.
    nonfinite: numbers that a type can't hold: "refuse", the default, or "keep" what becomes of them.
    strict: the names that are expected, after that. One that is missing or one too many is a ConflictError, before a
        tensor is read.

    The work:
    host_reads: how what stays as it is comes from a file into the host's memory: "automatic", "mapped" (the file's
        pages, private and writable; nobody may shorten it meanwhile), "cached" (through the system's cache) or "direct"
        (past it). Automatic: mapped, or cached where the system can't; on the way to a device direct where the
        cache has little of the file.
    alignment: every tensor on the host begins at a multiple of so many bytes. huge_pages: for large tensors there.
    memory: bytes of the host beyond the tensors themselves, or "512MiB"; 256 MiB unless told.
    threads: workers; None or 0 is one per core.
    progress, or on_progress: as for convert().
    on_tensor: called with name and tensor as each arrives, on this thread. Its exceptions end the work and reach the
        caller.
    cancel: a CancelToken that ends the work from another thread.
    torch_key, variant, headers, connections: of the source, as for open(), and what else it takes.

    Memory goes with the last use of each tensor; tensors that are mapped keep their file's mapping. The GIL is
    released; any thread may load. Ctrl-C ends it, and frees what was loaded.

    Raises IoError, FormatError, BudgetError, CancelledError; InvalidArgumentError (options that don't fit what is
    there, no such device); ConflictError (``strict``); UnsupportedError (a type that can't be made or held, a device
    that can't be used, a tensor that it has no room for in one piece); NoSpaceError (the device, or the host, hasn't
    the memory); ValueConversionError.
    """
    given = dict(locals())
    on_tensor = given.pop("on_tensor")
    arrived: list[tuple[int, str, Any]] = []
    origins = {}
    stream = start(given)
    try:
        core, tensor_of, callback = stream._core, stream._place.tensor, stream._progress
        for loaded in iter(lambda: core.next(callback), None):
            name, tensor = loaded.name, tensor_of(loaded)
            if on_tensor is not None:
                on_tensor(name, tensor)
            if not isinstance(tensor, DeviceTensor):
                origins[name] = weakref.ref(tensor), _origin(loaded), _layout(tensor) if loaded.on_host else None
            arrived.append((loaded.index, name, tensor))
    except BaseException:
        stream.close()
        # Who keeps the traceback keeps these variables.
        loaded = tensor = None
        arrived.clear()
        origins.clear()
        raise
    arrived.sort(key=lambda row: row[0])
    weights = Weights(core, ((name, tensor) for _, name, tensor in arrived))
    weights._origins = origins
    return weights


def _layout(tensor: Any) -> tuple:
    """Which bytes it is a view of, and how: what changes in a tensor that is transposed or reshaped in place."""
    if is_torch(tensor):
        return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()
    return tensor.ctypes.data, tensor.dtype, tensor.shape, tensor.strides


def _origin(loaded: _core.LoadedTensor) -> Callable[[], _core.LoadedTensor | None]:
    """What gives the memory again that a tensor is a view of, and doesn't keep it; but for a copy on the host, which
    nothing else keeps."""
    if loaded.on_host and loaded.nbytes:
        return weakref.ref(loaded)
    kept = loaded if loaded.has_host_bytes else None
    return lambda: kept
