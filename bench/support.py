"""What the whole-process benchmarks share: models to convert, and commands timed in interleaved pairs."""

import contextlib
import json
import os
import platform
import resource
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def machine() -> str:
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"


def write_model(path: Path, tensors: list[tuple[str, list[int]]]) -> None:
    """An F16 safetensors file of normal random weights; one block of them is drawn once and repeated, shifted."""
    at, header = 0, {}
    for name, shape in tensors:
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    block = (np.random.default_rng(1).standard_normal(32 << 20, dtype=np.float32) * 0.02).astype(np.float16).tobytes()
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        left, shift = at, 0
        while left > 0:
            part = block[shift : shift + left]
            out.write(part)
            left -= len(part)
            shift = (shift + 2 * 4099) % (1 << 20)


def read_through(path: Path) -> None:
    """Into the system's cache, in pages of the size that plain reading gives them."""
    with open(path, "rb", buffering=0) as file:
        part = bytearray(8 << 20)
        while file.readinto(part):
            pass


def touch(folder: Path, size: int) -> None:
    """Has the host back as much memory as an output needs, then gives it back to this machine's kernel."""
    path = folder / "touch"
    with open(path, "wb") as out:
        zeros = bytes(8 << 20)
        for _ in range(size // len(zeros) + 1):
            out.write(zeros)
    path.unlink()


_WRITE = """
import ctypes, mmap
free = next(int(line.split()[1]) << 10 for line in open("/proc/meminfo") if line.startswith("MemFree")) - (1 << 30)
if free > 0:
    memory = mmap.mmap(-1, free)
    memory.madvise(mmap.MADV_HUGEPAGE)
    ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(memory)), 1, free)
"""


def touch_free_memory() -> None:
    """Writes to all memory that is free, in a process that ends: what a virtual machine's host has taken back it gives again
    now, not to what is timed next."""
    subprocess.run([sys.executable, "-c", _WRITE], check=False)


@contextlib.contextmanager
def memory_group(nbytes: int):
    """The folder of a group of processes that may have so much memory; None where there can't be one."""
    root = Path("/sys/fs/cgroup")
    old = (root / "memory").is_dir()
    group = (root / "memory" if old else root) / f"headrace-bench-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        limit = group / ("memory.limit_in_bytes" if old else "memory.max")
        if limit.exists():
            limit.write_text(str(nbytes))
        yield group if limit.exists() else None
    finally:
        group.rmdir()


def timed(command: list[str], output: Path) -> tuple[float, float]:
    """Seconds by the clock, and (user + system) / wall."""
    output.unlink(missing_ok=True)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    output.unlink()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu / wall


def pairs(label: str, ours: list[str], theirs: list[str], out: Path, their_out: Path, count: int, peer: str = "loop") -> None:
    """Prints how `ours` does beside `theirs`, which `peer` names."""
    rows = []
    for _ in range(count + 1):
        rows.append((timed(theirs, their_out), timed(ours, out)))
    rows = rows[1:]  # the first pair warms up
    peers, mine = [row[0][0] for row in rows], [row[1][0] for row in rows]
    ratio = [m / t for m, t in zip(mine, peers)]
    busy = statistics.median(row[1][1] for row in rows)
    print(
        f"{label:32} {statistics.median(mine):6.3f} s ({min(mine):.3f} … {max(mine):.3f})   "
        f"{peer} {statistics.median(peers):6.3f} s ({min(peers):.3f} … {max(peers):.3f})   "
        f"ratio {statistics.median(ratio):5.2f} ({min(ratio):.2f} … {max(ratio):.2f})   busy {busy:.2f}",
        flush=True,
    )


def alone(label: str, ours: list[str], out: Path, count: int) -> None:
    rows = [timed(ours, out) for _ in range(count + 1)][1:]
    walls, busy = [row[0] for row in rows], statistics.median(row[1] for row in rows)
    print(f"{label:32} {statistics.median(walls):6.3f} s ({min(walls):.3f} … {max(walls):.3f})   busy {busy:.2f}", flush=True)
