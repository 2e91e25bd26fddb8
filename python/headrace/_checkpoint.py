"""open() and Checkpoint: a file of weights as a mapping of names to tensors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from . import _core
from ._errors import Error, refuse
from ._options import byte_count, count, plain
from ._tensor import Tensor

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ._types import Fetch, Path

_FRAMEWORKS = {None: None, "np": "np", "numpy": "np", "pt": "pt", "torch": "pt", "pytorch": "pt"}


class MissingTensorError(Error, KeyError):
    """A checkpoint has no tensor of that name; ``hint`` says which ones are close."""

    code = "invalid_argument"

    def __str__(self) -> str:  # KeyError would show the text's repr
        return Exception.__str__(self)


def location_text(location: Any) -> str:
    """A path of any kind, or an address, as a str. Raises TypeError for anything else."""
    text = os.fsdecode(location)
    if "\0" in text:
        raise refuse("a location can't hold a NUL character", found=repr(text))
    return text


def framework_named(framework: str | None) -> str | None:
    try:
        return _FRAMEWORKS[framework]
    except (KeyError, TypeError):
        raise refuse("this is no framework that Headrace knows", expected='"np" or "pt"',
                     found=repr(framework)) from None


def open_core(location: Any, memory: Any = None, torch_key: str | None = None, variant: str | None = None,
              headers: Any = None, connections: int | None = None, **places: Any) -> _core.Checkpoint:
    if isinstance(headers, Mapping):
        headers = [f"{name}: {value}" for name, value in headers.items()]
    return _core.open_checkpoint(location_text(location), byte_count(memory, "memory"), torch_key or "", variant or "",
                                 list(headers or ()),
                                 None if connections is None else count(connections, "connections", 1, 64),
                                 plain(places))


class Checkpoint(Mapping[str, Tensor]):
    """An open checkpoint: a mapping of the names of its tensors, in the file's order, to Tensor objects.

    Its header is read and checked; its tensors are read when asked for, and no object is made for one before. The files
    stay open until the checkpoint is closed (or forgotten) and so are all Tensors taken from it: renaming or deleting
    the files meanwhile does no harm, changing them does.

    Thread-safe. A context manager.
    """

    __slots__ = ("_core_checkpoint", "_framework", "_metadata", "__weakref__")

    def __init__(self, core: _core.Checkpoint, framework: str | None = None) -> None:
        self._core_checkpoint: _core.Checkpoint | None = core
        self._framework = framework
        self._metadata: dict[str, Any] | None = None

    @property
    def _core(self) -> _core.Checkpoint:
        if self._core_checkpoint is None:
            raise refuse("the checkpoint is closed")
        return self._core_checkpoint

    def __getitem__(self, name: str) -> Tensor:
        entry = self._core.find(name)
        if entry is None:
            raise self._missing(name)
        return Tensor(entry, self._framework)

    def get(self, name: str, default: Any = None) -> Any:
        entry = self._core.find(name)
        return default if entry is None else Tensor(entry, self._framework)

    def __contains__(self, name: object) -> bool:
        return self._core.__contains__(name)

    def __len__(self) -> int:
        return len(self._core)

    def __iter__(self) -> Iterator[str]:
        return iter(self._core.names())

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def metadata(self) -> dict[str, Any]:
        """What the file says about itself: strings of safetensors, values and lists of all kinds of GGUF. A copy."""
        if self._metadata is None:
            self._metadata = self._core.metadata
        return dict(self._metadata)

    @property
    def format(self) -> str:
        """ "safetensors", "gguf", "torch", "tfjs" or "numpy"."""
        return self._core.format

    @property
    def location(self) -> str:
        """As it was given, without the credentials that a URL may hold."""
        return self._core.location

    @property
    def files(self) -> list[str]:
        """The files, and packed entries of files, that the tensors lie in."""
        return self._core.files

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, in the types that they have there."""
        return self._core.nbytes

    def close(self) -> None:
        """Lets go of the files, once no Tensor of it is left either. Closing twice does nothing."""
        self._core_checkpoint = None

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __repr__(self) -> str:
        core = self._core_checkpoint
        if core is None:
            return "<headrace.Checkpoint: closed>"
        return f"<headrace.Checkpoint {core.location!r}: {core.format}, {len(core)} tensors, {core.nbytes:,} bytes>"

    def _missing(self, name: object) -> MissingTensorError:
        return missing_tensor(name, self._core.names(), self._core.location, "the checkpoint has no such tensor")


def missing_tensor(name: object, names: Iterable[str], file: str, problem: str) -> MissingTensorError:
    from difflib import get_close_matches

    near = get_close_matches(name, list(names), 3, 0.6) if isinstance(name, str) else []
    hint = "did you mean " + " or ".join(repr(text) for text in near) + "?" if near else None
    plain = refuse(problem, file=file, tensor=str(name), hint=hint)
    error = MissingTensorError(str(plain))
    error.__dict__.update(plain.__dict__)
    return error


def open(location: str | os.PathLike, *, framework: str | None = None, memory: int | str | None = None,
         torch_key: str | None = None, variant: str | None = None,
         headers: Mapping[str, str] | Iterable[str] | None = None, connections: int | None = None,
         fetch: Fetch | None = None, weight_path_prefix: Path | None = None,
         weight_url_converter: Callable[[str], Path] | None = None) -> Checkpoint:
    """Opens a checkpoint of any format, known by its content, and reads its header; of sharded ones, all headers.

    ``location``: a path, a folder, a URL (https://…, http://…, hf://owner/repo/file[@revision]) or "-" for the standard
    input. ``framework``: "np" or "pt", what ``tensor[...]`` gives; without, numpy arrays. ``memory``: bytes that the
    header may take (a number or "256MiB"; that is the default). ``torch_key``: the entry of a PyTorch checkpoint that
    holds the weights. ``variant``: of a folder, the files of this variant ("fp16"). ``headers``: for the URL's own
    host, as a mapping or as "Name: value" lines. ``connections``: to a server at once; 8.

    ``fetch``: opens every file in place of Headrace: called with its location, once for each, it returns bytes (read in
    any order), an object with ``read(n)``, or an iterable of pieces of bytes (each read once, in order, so that
    tensors must be). Any location may be given then. It is called, and what it returns read, on other threads, with the
    GIL; its exceptions reach the caller. Ctrl-C, cancelling and the program's end wait for a read that has begun.
    ``weight_path_prefix``: of a TensorFlow.js model, the folder or URL that holds the files of weights.
    ``weight_url_converter``: called with each file's path in the manifest, returns where it is; wins over the prefix.

    Files on disks are opened at once, on the calling thread; waiting for servers and pipes can be ended with
    Ctrl-C.
    Raises IoError, FormatError, BudgetError (a header too large), InvalidArgumentError, UnsupportedError.
    """
    named = framework_named(framework)
    core = open_core(location, memory, torch_key, variant, headers, connections, fetch=fetch,
                     weight_path_prefix=weight_path_prefix, weight_url_converter=weight_url_converter)
    return Checkpoint(core, named)
