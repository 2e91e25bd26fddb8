#!/usr/bin/env python3
"""Times how tensors are cut from a stream that comes in chunks of 64 KiB: streams of 256 MiB, 1 GiB and 4 GiB, through
a pipe into the command, and from a `fetch` of Python's. Each is four times the one before, and so is its time where
cutting is linear: within noise, at most 4.5 times.

    PYTHONPATH=build/release/python linear_cutting.py HEADRACE [--rounds 3] [--sizes 256,1024,4096]

Nothing is stored, and every tensor is dropped as it comes. Times and ratios are reported, never judged.
"""

import argparse
import json
import os
import statistics
import struct
import subprocess
import time
from collections.abc import Callable, Iterator

from support import machine

CHUNK = 64 << 10
TENSOR = 1 << 20  # bytes of each


def chunks(size: int) -> Iterator[bytes]:
    """A safetensors file of `size` bytes of F16 tensors."""
    header = {f"layers.{i}.weight": {"dtype": "F16", "shape": [512, 1024], "data_offsets": [i * TENSOR, (i + 1) * TENSOR]}
              for i in range(size // TENSOR)}
    text = json.dumps(header, separators=(",", ":")).encode()
    front = struct.pack("<Q", len(text)) + text
    yield from (front[at : at + CHUNK] for at in range(0, len(front), CHUNK))
    block = os.urandom(CHUNK)
    yield from (block for _ in range(size // CHUNK))


def through_a_pipe(headrace: str, size: int) -> None:
    command = [headrace, "load", "-", "--discard", "--quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        for chunk in chunks(size):
            process.stdin.write(chunk)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")


def from_a_fetch(size: int) -> None:
    import headrace

    with headrace.stream("a stream", fetch=lambda _: chunks(size), framework="np") as stream:
        count = sum(1 for _ in stream)
    assert count == size // TENSOR


def report(label: str, run: Callable[[int], None], sizes: list[int], rounds: int) -> None:
    times: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            start = time.perf_counter()
            run(size)
            times[size].append(time.perf_counter() - start)
    before = None
    for size in sizes:
        median = statistics.median(times[size])
        ratio = "" if before is None else f"   {median / before:5.2f} times the one before"
        print(f"{label:14} {size >> 20:5} MiB {median:7.3f} s ({min(times[size]):.3f} … {max(times[size]):.3f})   "
              f"{size / median / 1e9:5.2f} GB/s{ratio}", flush=True)
        before = median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("headrace")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", default="256,1024,4096", help="in MiB")
    options = parser.parse_args()
    sizes = [int(size) << 20 for size in options.sizes.split(",")]
    print(f"{machine()}; chunks of {CHUNK >> 10} KiB, tensors of {TENSOR >> 20} MiB; medians of {options.rounds}")
    report("from a pipe", lambda size: through_a_pipe(options.headrace, size), sizes, options.rounds)
    report("from a fetch", from_a_fetch, sizes, options.rounds)


if __name__ == "__main__":
    main()
