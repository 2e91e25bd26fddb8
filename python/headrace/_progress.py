"""Progress: what a caller gives to hear of it, as the callable that the library takes."""

from __future__ import annotations

from ._core import Progress
from ._errors import refuse


class _Bar:
    """Drives an object with ``total`` and ``update(n)``, such as tqdm's, in bytes. Its owner closes it."""

    def __init__(self, bar: object) -> None:
        self._bar = bar
        self._before = getattr(bar, "n", 0) or 0  # of jobs that it showed before this one, and of earlier passes
        self._total = 0  # of this pass over the data
        self._done = 0

    def __call__(self, progress: Progress) -> None:
        if progress.bytes_done < self._done or progress.bytes_total != self._total:
            # Another pass: measuring, then converting.
            self._before += self._done
            self._done, self._total = 0, progress.bytes_total
            self._bar.total = self._before + self._total
        if progress.bytes_done > self._done:
            step, self._done = progress.bytes_done - self._done, progress.bytes_done
            self._bar.update(step)


def callback(progress: object):
    """`progress` as a callable that takes a Progress, or None."""
    if progress is None:
        return None
    if hasattr(progress, "update") and hasattr(progress, "total"):
        return _Bar(progress)
    if callable(progress):
        return progress
    raise refuse("progress: found " + type(progress).__name__,
                 expected="a callable that takes a Progress, or a bar with total and update(n), such as tqdm's")
