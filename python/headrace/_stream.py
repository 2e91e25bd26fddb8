"""stream: the tensors of a checkpoint on a device, one by one as they arrive."""

from __future__ import annotations

from collections.abc import Iterator

from . import _core, _progress
from ._checkpoint import open as open_checkpoint
from ._devices import Place
from ._errors import refuse
from ._options import plain
from ._sources import location as location_text

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from ._core import CancelToken
    from ._types import DType, OnProgress, Path

# What open() takes to find and open a source, load() and stream() take too.
_SOURCE = frozenset(open_checkpoint.__kwdefaults__ or ()) - {"framework", "memory"}
# Those that are on unless told; plain() leaves out what is False.
_SWITCHES = ("stream_weights", "huge_pages")


class WeightStream(Iterator["tuple[str, Any]"]):
    """Pairs of name and tensor, in the order in which they arrive; see headrace.stream.

    What was taken is the caller's and outlives the stream. While nothing is taken, no more than ``memory`` bytes are
    read ahead. A context manager: leaving it, ``close()`` and forgetting it end the work. Any thread may take the
    next tensor or close the stream; each tensor comes once. Its progress callback may close it, and can't take from it.
    """

    __slots__ = ("_core", "_place", "_progress", "__weakref__")

    def __init__(self, core: _core.WeightStream, place: Place, progress: Any) -> None:
        self._core = core
        self._place = place
        self._progress = progress

    def __next__(self) -> tuple[str, Any]:
        loaded = self._core.next(self._progress)
        if loaded is None:
            raise StopIteration
        return loaded.name, self._place.tensor(loaded)

    def __len__(self) -> int:
        """How many tensors there are in all, whether or not they have been taken."""
        return len(self._core)

    def __length_hint__(self) -> int:
        return max(0, len(self._core) - self._core.report.tensors)

    @property
    def metadata(self) -> dict[str, Any]:
        """The source's, as ``Checkpoint.metadata``. Raises InvalidArgumentError once the stream is closed."""
        return self._core.metadata

    @property
    def progress(self) -> _core.Progress:
        return self._core.progress

    @property
    def report(self) -> _core.LoadReport:
        """What it came to so far."""
        return self._core.report

    def close(self) -> None:
        """Ends the work; tensors that weren't taken go. Closing twice does nothing."""
        self._core.close()

    def __enter__(self) -> WeightStream:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<headrace.WeightStream: {self._core.report.tensors} of {len(self)} tensors>"


def stream(
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
    cancel: CancelToken | None = None,
    **source: Any,
) -> WeightStream:
    """The tensors of a checkpoint on a device, as an iterator of (name, tensor) in the order in which they arrive.

        >>> with headrace.stream("model.safetensors", "cuda:0") as stream:
        ...     for name, tensor in stream:
        ...         take(name, tensor)

    Returns when the header has been read; workers read, convert and send from then on. Takes what load() takes, but for
    ``on_tensor``, and raises what it raises: here, or with the next tensor. Waiting lets go of the GIL; Ctrl-C ends
    the work.
    """
    return start(dict(locals()))


def start(given: dict[str, Any], on_plan: Callable[[list], None] | None = None) -> WeightStream:
    """Of every keyword by its name. `on_plan`: called with (name, dtype, shape, bytes) of each, before any is read."""
    source = given.pop("source")
    unknown = [name for name in source if name not in _SOURCE]
    if unknown:
        raise TypeError(f"unexpected keyword argument '{unknown[0]}'")
    where = location_text(given.pop("location"), "location")
    place = Place(given.pop("device"), given.pop("framework"))
    progress, cancel = _progress.callback(_either(given, "progress", "on_progress")), given.pop("cancel")
    given["type"] = _either(given, "type", "dtype")
    if given["host_threshold"] is None and place.kind == "pt":
        given["host_threshold"] = 0
    switches = {name: _switch(name, given.pop(name)) for name in _SWITCHES}
    if given["strict"] is not None:
        given["strict"] = _names(given["strict"])
    if on_plan is None and place.strict:
        on_plan = place.check
    core = _core.open_stream(where, place.device, {**plain({**given, **source}), **switches}, place.allocate, on_plan,
                             progress, cancel)
    return WeightStream(core, place, progress)


def _either(given: dict[str, Any], name: str, other: str) -> Any:
    """The value of a keyword that has two names."""
    first, second = given.pop(name), given.pop(other)
    if first is not None and second is not None:
        raise refuse(f"{name} and {other} are one option", hint="give one of them")
    return second if first is None else first


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise refuse(f"{name}: found {value.__class__.__name__} {value!r}", expected="True or False")
    return value


def _names(names: Any) -> list[str]:
    if isinstance(names, (str, bool)):
        raise refuse(f"strict: found {names!r}", expected="the names that are expected, as a list")
    return list(names)
