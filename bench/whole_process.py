#!/usr/bin/env python3
"""Times whole conversions against a plain two-thread copy loop, interleaved, in memory.

    whole_process.py HEADRACE COPY_LOOP [--pairs 9] [--gigabytes 3.2] [--folder /dev/shm]

Every pair runs the loop and the conversion one after the other on the same input; the figures are medians over the
pairs and the median of the pairs' ratios. The memory that outputs will take is touched before the first pair, so that
no run pays for the host handing it over. Timings are reported, never judged.
"""
import argparse
import json
import os
import platform
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
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


def touch(folder: Path, size: int) -> None:
    """Has the host back as much memory as an output needs, then gives it back to this machine's kernel."""
    path = folder / "touch"
    with open(path, "wb") as out:
        zeros = bytes(8 << 20)
        for _ in range(size // len(zeros) + 1):
            out.write(zeros)
    path.unlink()


def timed(command: list[str], output: Path) -> tuple[float, float]:
    """Seconds by the clock, and (user + system) / wall."""
    output.unlink(missing_ok=True)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    output.unlink()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu / wall


def pairs(label: str, ours: list[str], loop: list[str], out: Path, loop_out: Path, count: int) -> None:
    rows = []
    for _ in range(count + 1):
        rows.append((timed(loop, loop_out), timed(ours, out)))
    rows = rows[1:]  # the first pair warms up
    theirs = [row[0][0] for row in rows]
    mine = [row[1][0] for row in rows]
    ratio = [m / t for m, t in zip(mine, theirs)]
    busy = statistics.median(row[1][1] for row in rows)
    print(
        f"{label:28} {statistics.median(mine):6.3f} s ({min(mine):.3f} … {max(mine):.3f})   "
        f"loop {statistics.median(theirs):6.3f} s ({min(theirs):.3f} … {max(theirs):.3f})   "
        f"ratio {statistics.median(ratio):5.2f} ({min(ratio):.2f} … {max(ratio):.2f})   busy {busy:.2f}",
        flush=True,
    )


def alone(label: str, ours: list[str], out: Path, count: int) -> None:
    rows = [timed(ours, out) for _ in range(count + 1)][1:]
    walls, busy = [row[0] for row in rows], statistics.median(row[1] for row in rows)
    print(f"{label:28} {statistics.median(walls):6.3f} s ({min(walls):.3f} … {max(walls):.3f})   busy {busy:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("headrace")
    parser.add_argument("copy_loop")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--gigabytes", type=float, default=3.2)
    parser.add_argument("--folder", default="/dev/shm")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder_name:
        folder = Path(folder_name)
        rows = int(arguments.gigabytes * 1e9 / 2 / 4096 / 100)
        big, small, mixed = (folder / f"{name}.safetensors" for name in ("big", "small", "mixed"))
        write_model(big, [(f"blk.{i}.weight", [rows, 4096]) for i in range(100)])
        write_model(small, [(f"blk.{i}.bias", [2048]) for i in range(16_000)])
        print(f"{machine()}; {arguments.folder}; {big.stat().st_size / 1e9:.2f} GB F16 in 100 tensors; 2 threads;")
        print(f"{arguments.pairs} interleaved pairs after one that isn't counted; median (min … max)", flush=True)
        touch(folder, 2 * big.stat().st_size)

        loop_out, out = folder / "copy", folder / "out.gguf"
        loop = [arguments.copy_loop, str(big), str(loop_out), "2"]
        convert = [arguments.headrace, "convert", str(big), "-o", str(out), "--threads", "2", "--quiet"]
        pairs("F16 -> F16", convert, loop, out, loop_out, arguments.pairs)
        pairs("F16 -> Q8_0", [*convert, "--type", "q8_0"], loop, out, loop_out, arguments.pairs)
        pairs("F16 -> Q4_0", [*convert, "--type", "q4_0"], loop, out, loop_out, arguments.pairs)
        pairs("F16 -> Q4_K", [*convert, "--type", "q4_K"], loop, out, loop_out, arguments.pairs)
        pairs("F16 -> Q4_K, weights of 1", [*convert, "--type", "q4_K", "--imatrix", "ones"], loop, out, loop_out, arguments.pairs)
        tiny = [arguments.headrace, "convert", str(small), "-o", str(out), "--threads", "2", "--quiet"]
        alone("16,000 tensors of 4 KiB", tiny, out, arguments.pairs)
        big.unlink()
        write_model(mixed, [("huge", [1, rows * 4096 * 100])] + [(f"small.{i}", [16, 256]) for i in range(20_000)])
        uneven = [arguments.headrace, "convert", str(mixed), "-o", str(out), "--threads", "2", "--quiet"]
        alone("one huge, 20,000 small: Q4_0", [*uneven, "--type", "q4_0"], out, arguments.pairs)


if __name__ == "__main__":
    sys.exit(main())
