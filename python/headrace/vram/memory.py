"""Memory for units: on the CPU blocks that are used again, on other devices torch's own."""

from __future__ import annotations

import collections
import mmap
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch

_PAGE = mmap.PAGESIZE
_HUGE = 2 << 20


class HostPool:
    """Blocks of the CPU's memory. A block that nobody uses any longer is given out again, so that memory that the
    system has filled with zeros once is used for the next unit.

    A block comes back when the last tensor that views it is gone: one that a module returned, or that autograd keeps,
    holds its block, and nothing is written over it. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: collections.OrderedDict[int, list[mmap.mmap]] = collections.OrderedDict()  # by size
        self._back: collections.deque[mmap.mmap] = collections.deque()  # the collector may run anywhere: takes no lock
        self._given: dict[int, Any] = {}

    def take(self, nbytes: int) -> torch.Tensor:
        """Bytes (uint8) at a page's beginning."""
        size = -(-max(nbytes, 1) // _PAGE) * _PAGE
        with self._lock:
            self._sort_in()
            blocks = self._free.get(size)
            block = blocks.pop() if blocks else None
            if block is None:
                self._forget(size)
        if block is None:
            block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            if size >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
                block.madvise(mmap.MADV_HUGEPAGE)
        lease = memoryview(block)[:max(nbytes, 1)]  # which torch keeps as long as a tensor views it
        key, back, given = id(lease), self._back, self._given
        given[key] = weakref.ref(lease, lambda _: (given.pop(key, None), back.append(block)))
        return torch.frombuffer(lease, dtype=torch.uint8)[:nbytes]

    def trim(self) -> None:
        """What is free goes back to the system."""
        with self._lock:
            self._sort_in()
            self._free.clear()

    @property
    def free_bytes(self) -> int:
        with self._lock:
            self._sort_in()
            return sum(size * len(blocks) for size, blocks in self._free.items())

    def _sort_in(self) -> None:
        while self._back:
            block = self._back.popleft()
            self._free.setdefault(len(block), []).append(block)

    # Blocks of other sizes make room for a new one, so that sizes that come and go don't add up.
    def _forget(self, nbytes: int) -> None:
        while nbytes > 0 and self._free:
            size, blocks = next(iter(self._free.items()))
            if blocks:
                blocks.pop()
                nbytes -= size
            if not blocks:
                del self._free[size]


def counter_of(device: torch.device) -> Callable[[], int] | None:
    """What says how much torch has allocated on a device; None where torch doesn't say."""
    if device.type == "cpu":
        return None
    ask = getattr(getattr(torch, device.type, None), "memory_allocated", None)
    return None if ask is None else lambda: ask(device)


class Memory:
    """What units of one model are made in, on the device that computes."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.allocated = counter_of(device)
        self.pool = HostPool()
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def build(self, nbytes: int, device: torch.device, fill: Callable[[torch.Tensor], None],
              from_host: bool) -> torch.Tensor:
        """New memory on a device that ``fill`` has filled. `from_host`: it is filled with what can only be read into
        the CPU's memory. Thread-safe."""
        if device.type == "cpu":
            flat = self.pool.take(nbytes)
            fill(flat)
            return flat
        if self._stream is None or device.type != "cuda":
            flat = torch.empty(nbytes, dtype=torch.uint8, device=device)
            self._send(flat, fill, from_host)
            return flat
        # Beside the stream that computes; whoever uses the memory there says so (used_on).
        with torch.cuda.stream(self._stream):
            flat = torch.empty(nbytes, dtype=torch.uint8, device=device)
            self._send(flat, fill, from_host)
        self._stream.synchronize()
        return flat

    def _send(self, flat: torch.Tensor, fill: Callable[[torch.Tensor], None], from_host: bool) -> None:
        if not from_host:
            fill(flat)
            return
        staging = self.pool.take(flat.numel())
        fill(staging)
        flat.copy_(staging)

    def used_on(self, tensors: Iterable[torch.Tensor]) -> None:
        """This thread's stream will use them: the allocator waits for it before it gives their memory out again."""
        if self._stream is not None:
            stream = torch.cuda.current_stream(self.device)
            for tensor in tensors:
                if tensor.is_cuda:
                    tensor.record_stream(stream)
