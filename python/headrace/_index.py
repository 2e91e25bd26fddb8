"""Indexing: t[...] as the ranges that are read, and what is done with them afterwards."""

from __future__ import annotations

from operator import index as as_int

from ._errors import Error, refuse

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from typing import Any


class Selection:
    """What an index selects of a shape.

    ``ranges``: (first, count, step) of each dimension, steps positive. ``shape``: of what they hold. ``drop``: the
    dimensions that an int selected, which the result hasn't. ``flip``: those whose step was negative.
    """

    __slots__ = ("ranges", "shape", "drop", "flip")

    def __init__(self, index: Any, shape: tuple[int, ...], tensor: str) -> None:
        parts = index if isinstance(index, tuple) else (index,)
        self.ranges: list[tuple[int, int, int]] = []
        self.drop: list[int] = []
        self.flip: list[int] = []
        for part, size in zip(_expand(parts, len(shape), tensor), shape):
            self._add(part, size, tensor)
        self.shape = tuple(count for _, count, _ in self.ranges)

    def _add(self, part: Any, size: int, tensor: str) -> None:
        if isinstance(part, slice):
            indices = range(*part.indices(size))
            if indices.step < 0:
                if len(indices) > 1:
                    self.flip.append(len(self.ranges))
                indices = indices[::-1]
            count = len(indices)
            self.ranges.append((indices.start, count, indices.step) if count else (0, 0, 1))
            return
        at = _int(part, tensor)
        if not -size <= at < size:
            raise _index_error(refuse("the index is out of range", tensor=tensor, expected=f"{-size} to {size - 1}",
                                     found=str(at)))
        self.drop.append(len(self.ranges))
        self.ranges.append((at % size, 1, 1))

    @property
    def final_shape(self) -> tuple[int, ...]:
        return tuple(count for d, count in enumerate(self.shape) if d not in self.drop)

    def finish(self, array: Any, flip: Any) -> Any:
        """Turns round what was asked for backwards and leaves out what an int selected. `flip(array, dimensions)`."""
        if self.flip:
            array = flip(array, self.flip)
        return array.reshape(self.final_shape) if self.drop else array


class _IndexError(Error, IndexError):  # so that `for row in tensor` and `except IndexError` work
    code = "invalid_argument"


def _index_error(plain: Error) -> _IndexError:
    error = _IndexError(str(plain))
    error.__dict__.update(plain.__dict__)
    return error


def _int(part: Any, tensor: str) -> int:
    if part is not None and not isinstance(part, bool):
        try:
            return as_int(part)
        except TypeError:
            pass
    raise refuse("a tensor in a file is indexed with ints, slices and one Ellipsis", tensor=tensor,
                 found=type(part).__name__, hint="read it whole and index the array for anything else")


def _expand(parts: tuple, rank: int, tensor: str) -> list:
    """The parts with the Ellipsis, and what follows the last part, written out."""
    ellipses = [i for i, part in enumerate(parts) if part is Ellipsis]
    if len(ellipses) > 1 or len(parts) - len(ellipses) > rank:
        raise _index_error(refuse("too many indices", tensor=tensor, expected=f"at most {rank}", found=str(len(parts))))
    at = ellipses[0] if ellipses else len(parts)
    rest = parts[at + 1:] if ellipses else ()
    whole = [slice(None)] * (rank - at - len(rest))
    return [*parts[:at], *whole, *rest]
