"""Names of types that annotations use. Never imported by a running program."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, Protocol, Union

from ._core import Input, Progress


class Bar(Protocol):
    """tqdm's bars, and what is like them."""

    total: Any

    def update(self, n: int) -> object: ...


Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]  # a path, a folder, a URL or "-"
OutputPath = Union[str, "os.PathLike[str]"]
Bytes = Union[int, str]  # a number of bytes, or "5GB"
OnePath = Union[Path, Input]
Source = Union[OnePath, Sequence[OnePath], Mapping[str, Union[OnePath, Sequence[OnePath], None]]]
DType = Any  # a type by any of its names, or torch's, numpy's or ml_dtypes' object for it
OnProgress = Union[Callable[[Progress], object], Bar]


class Readable(Protocol):
    """Binary files, and what is like them: urllib's and requests' raw responses."""

    def read(self, n: int) -> bytes: ...


Fetch = Callable[[str], Union[bytes, bytearray, memoryview, Readable, "Iterable[bytes]"]]
