#!/usr/bin/env python3
"""Times the Python module beside safetensors' own, interleaved, in one process: opening a file of many tensors and
reading one, and loading a file whole and using every byte of it, with the file in the page cache and not.

    PYTHONPATH=build/release/python python_load.py [--pairs 9] [--cold-pairs 3] [--gigabytes 2.4] [--folder .]

`--folder` should be on a disk: files in memory are never cold. What isn't installed is skipped, and said so. Timings
are reported, never judged.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from support import machine, write_model

MANY = 10_000


def write_many(path: Path) -> str:
    """A file of 10,000 small tensors; returns the name of one in the middle."""
    write_model(path, [(f"model.layers.{i // 10}.mlp.part_{i % 10}.weight", [16, 16]) for i in range(MANY)])
    return f"model.layers.{MANY // 20}.mlp.part_5.weight"


def forget(path: Path) -> None:
    """The file's pages leave the system's cache."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def interleaved(label: str, ours, theirs, count: int, unit: float, before=lambda: None) -> None:
    """Prints medians; each of `ours` and `theirs` does one run, and returns something that has to be equal."""
    assert ours() == theirs()
    times: dict = {ours: [], theirs: []}
    for i in range(count):
        for run in (ours, theirs) if i % 2 == 0 else (theirs, ours):
            before()
            start = time.perf_counter()
            run()
            times[run].append(time.perf_counter() - start)
    mine, other = (statistics.median(times[run]) for run in (ours, theirs))
    ratios = sorted(a / b for a, b in zip(times[ours], times[theirs]))
    name = "ms" if unit < 1 else "s"
    print(f"{label:<44} headrace {mine / unit:8.3f} {name}   safetensors {other / unit:8.3f} {name}   "
          f"{mine / other:5.2f} ({ratios[0]:.2f} … {ratios[-1]:.2f})")


def one_of_many(path: Path, name: str, framework: str, count: int) -> None:
    import headrace
    from safetensors import safe_open

    def ours() -> float:
        with headrace.open(path, framework=framework) as checkpoint:
            tensor = checkpoint[name][...]
        return float(tensor.sum())

    def theirs() -> float:
        with safe_open(path, framework) as checkpoint:
            tensor = checkpoint.get_tensor(name)
        return float(tensor.sum())

    interleaved(f"open {MANY} tensors, read one, {framework}", ours, theirs, count, 1e-3)


def whole_with_torch(path: Path):
    import headrace.torch
    import safetensors.torch
    import torch

    def total(load) -> int:
        return sum(int(tensor.view(torch.int64).sum()) for tensor in load(path).values()) % 2**64

    return (lambda: total(headrace.torch.load_file)), (lambda: total(safetensors.torch.load_file))


def whole_with_numpy(path: Path):
    import headrace.numpy
    import numpy as np
    import safetensors.numpy

    def total(load) -> int:
        return sum(int(tensor.view(np.int64).sum()) for tensor in load(path).values()) % 2**64

    return (lambda: total(headrace.numpy.load_file)), (lambda: total(safetensors.numpy.load_file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--cold-pairs", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, default=2.4)
    parser.add_argument("--folder", type=Path, default=Path("."))
    arguments = parser.parse_args()
    try:
        import headrace
        import safetensors
    except ImportError as error:
        sys.exit(f"skipped: {error}")
    frameworks = {}
    for framework, whole in (("np", whole_with_numpy), ("pt", whole_with_torch)):
        try:
            whole(Path())
            frameworks[framework] = whole
        except ImportError as error:
            print(f"{framework}: skipped, {error}")
    print(f"{machine()}; headrace {headrace.__version__}, safetensors {safetensors.__version__}; medians, ours / "
          "theirs (and of pairs)")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        many, model = Path(folder) / "many.safetensors", Path(folder) / "model.safetensors"
        name = write_many(many)
        layers = max(1, round(arguments.gigabytes * 1e9 / (2 * 4096 * 8192)))
        write_model(model, [(f"layers.{i}.weight", [4096, 8192]) for i in range(layers)])
        for framework in frameworks:
            one_of_many(many, name, framework, 10 * arguments.pairs)
        for framework, whole in frameworks.items():
            ours, theirs = whole(model)
            size = f"{model.stat().st_size / 1e9:.2f} GB"
            interleaved(f"load and sum {size}, {framework}, warm", ours, theirs, arguments.pairs, 1)
            interleaved(f"load and sum {size}, {framework}, cold", ours, theirs, arguments.cold_pairs, 1,
                        lambda: forget(model))


if __name__ == "__main__":
    main()
