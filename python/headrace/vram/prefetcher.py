"""Prefetcher: the threads that load a manager's units ahead of their use, while there is something to load."""

from __future__ import annotations

import atexit
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .manager import Manager

# A thread that has had nothing to do for so long ends; the next use starts one.
_IDLE_SECONDS = 0.5
# Two, as one alone leaves a disk idle while it copies.
_THREADS = 2

_all: weakref.WeakSet[Prefetcher] = weakref.WeakSet()


class Prefetcher:
    """Thread-safe. It keeps neither the manager nor the program alive."""

    def __init__(self, manager: Manager) -> None:
        self._manager = weakref.ref(manager)
        self._changed = threading.Condition(threading.Lock())
        self._threads: set[threading.Thread] = set()
        self._work = 0  # threads that shall look for something to do
        self._closed = False
        _all.add(self)

    @property
    def idle(self) -> bool:
        return not self._threads

    def wake(self) -> None:
        """There may be something to do."""
        with self._changed:
            if self._closed:
                return
            self._work = _THREADS
            self._changed.notify_all()
            while len(self._threads) < _THREADS:
                thread = threading.Thread(target=self._run, name="headrace-vram", daemon=True)
                self._threads.add(thread)
                thread.start()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            threads = list(self._threads)
            self._changed.notify_all()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._work and not self._closed:
                    self._changed.wait(_IDLE_SECONDS)
                if self._closed or not self._work:
                    self._threads.discard(threading.current_thread())
                    return
                self._work -= 1
            try:
                while not self._closed and self._step():
                    pass
            except Exception:
                pass  # whoever uses the unit reads it again, and is told

    def _step(self) -> bool:
        manager = self._manager()
        return manager is not None and manager.step()


@atexit.register
def _end() -> None:
    for prefetcher in list(_all):
        prefetcher.close()
