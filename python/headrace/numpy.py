"""For numpy: what safetensors.numpy has, for every format that Headrace reads and writes."""

from __future__ import annotations

import os

from ._load import load_numpy
from ._save import save_file

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    import numpy

__all__ = ["load_file", "save_file"]


def load_file(filename: str | os.PathLike, *, backend: str = "mmap") -> dict[str, numpy.ndarray]:
    """All tensors of a checkpoint as numpy arrays, by name; see headrace.load_file."""
    return load_numpy(filename, backend)
