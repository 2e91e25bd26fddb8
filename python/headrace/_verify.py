"""verify: are two checkpoints the same, and if not, how far apart are their numbers?"""

from __future__ import annotations

from . import _core, _progress
from ._core import CancelToken, VerifyReport
from ._options import plain
from ._sources import location

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ._types import Fetch, OnProgress, Path


def verify(
    first: Path | object,
    second: Path | object,
    *,
    memory: int | str | None = None,
    threads: int | None = None,
    torch_key: str | None = None,
    variant: str | None = None,
    headers: Mapping[str, str] | Sequence[str] | None = None,
    connections: int | None = None,
    fetch: Fetch | None = None,
    weight_path_prefix: Path | None = None,
    weight_url_converter: Callable[[str], Path] | None = None,
    progress: OnProgress | None = None,
    cancel: CancelToken | None = None,
) -> VerifyReport:
    """Compares `second` with `first`, which is taken as the truth; formats and types may differ.

        >>> report = headrace.verify("model.safetensors", "model-q8_0.gguf")
        >>> report.same(max_rmse=0.01)
        True

    Each is a location as convert() takes it, or an open Checkpoint. Nothing is raised for a difference: the report
    says what there is. ``memory`` (bytes, or "512MiB"; 256 MiB unless told) bounds headers and data in flight;
    ``threads``: workers, None or 0 is one per core. The others as for convert(); what ``fetch`` returns must be bytes,
    for they are read more than once. The GIL is released, and Ctrl-C ends the work.

    Raises FormatError, IoError, BudgetError, InvalidArgumentError, CancelledError.
    """
    options = plain({"memory": memory, "threads": threads, "torch_key": torch_key, "variant": variant,
                     "headers": headers, "connections": connections, "fetch": fetch,
                     "weight_path_prefix": weight_path_prefix, "weight_url_converter": weight_url_converter})
    sides = _side(first, "first"), _side(second, "second")
    return _core.verify(*sides, options, _progress.callback(progress), cancel)


def _side(given: object, what: str) -> object:
    """The core's Checkpoint of an open one, or a location."""
    opened = getattr(given, "_core", None)
    return opened if opened is not None else location(given, what)
