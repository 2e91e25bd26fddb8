#!/usr/bin/env python3
"""Times headrace.DiskMap beside safetensors' safe_open: how long the first tensor of a checkpoint of 10,000 takes in a new
process, and tensors read in a random order, each once, with their bytes summed.

    PYTHONPATH=build/release/python python_disk_map.py [--runs 9] [--folder .]

Cold: the system is asked to drop its cache of the file before. `--folder` should be on a disk. Opening is part of the
time, and so is closing, where safe_open gives back what each read has mapped. Timings are reported, never judged.
"""

import argparse
import gc
import importlib.util
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support import machine

FIRST = """
import sys, time, torch
import {module}
begun = time.perf_counter()
{get}.view(torch.int64).sum()
print(time.perf_counter() - begun)
"""
WAYS = {"headrace": ("headrace", "headrace.DiskMap(sys.argv[1])[sys.argv[2]]"),
        "safe_open": ("safetensors", "safetensors.safe_open(sys.argv[1], 'pt').get_tensor(sys.argv[2])")}  # fmt: skip


def forget(path: Path) -> None:
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def first_tensor(way: str, path: Path, name: str) -> float:
    module, get = WAYS[way]
    done = subprocess.run([sys.executable, "-c", FIRST.format(module=module, get=get), str(path), name],
                          stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def random_reads(way: str, path: Path, names: list[str]) -> float:
    import safetensors
    import torch

    import headrace

    gc.collect()
    begun = time.perf_counter()
    get = headrace.DiskMap(path).__getitem__ if way == "headrace" else safetensors.safe_open(path, "pt").get_tensor
    for name in names:
        get(name).view(torch.int64).sum()
    del get
    return time.perf_counter() - begun


def compare(what: str, path: Path, runs: int, measure) -> None:
    """Interleaved, the first of each pair in turn; medians."""
    for kind in ("cold", "warm"):
        path.read_bytes()
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for run in range(runs):
            for way in list(WAYS)[::1 if run % 2 else -1]:
                if kind == "cold":
                    forget(path)
                times[way].append(measure(way, run))
        text = "   ".join(f"{way} {statistics.median(found) * 1e3:7.1f} ms ({min(found) * 1e3:.1f} … {max(found) * 1e3:.1f})"
                          for way, found in times.items())
        ratio = statistics.median(times["headrace"]) / statistics.median(times["safe_open"])
        print(f"{what:<34} {kind}   {text}   ratio {ratio:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--folder", type=Path, default=Path("."))
    arguments = parser.parse_args()
    missing = [name for name in ("headrace", "torch", "safetensors") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: {', '.join(missing)} not installed")
        return
    import torch

    import headrace

    print(f"{machine()}, load {os.getloadavg()[0]:.1f}; torch {torch.__version__}; BF16; {arguments.runs} runs of each, "
          "median (min … max)", flush=True)
    for count, shape, some in ((10_000, (256, 128), 1000), (100, (2048, 2048), 100)):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            path = Path(folder) / "model.safetensors"
            tensors = [(f"blocks.{i}.weight", "BF16", shape) for i in range(count)]
            weights = torch.randn(shape).bfloat16()
            headrace.save_safetensors_streaming(((name, weights) for name, _, _ in tensors), path, tensors)
            names = [name for name, _, _ in tensors]
            if count == 10_000:
                compare("the first tensor of 10,000", path, arguments.runs,
                        lambda way, run: first_tensor(way, path, names[7777]))
            size = 2 * shape[0] * shape[1] >> 10
            compare(f"{some} random tensors of {size} KiB", path, arguments.runs,
                    lambda way, run: random_reads(way, path, random.Random(run).sample(names, some)))


if __name__ == "__main__":
    main()
