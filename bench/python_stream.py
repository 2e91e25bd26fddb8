#!/usr/bin/env python3
"""Times headrace.load into the host's memory beside the loaders that people know: a model of a few GB, then every byte
of it summed, by the same loop for all; with the file in the page cache and not, in one process, interleaved, the order
turning from round to round.

    PYTHONPATH=build/release/python python_stream.py [--size 3] [--runs 9] [--cold-only | --warm-only] [--touch] [--folder .]

Beside it: safetensors.torch.load_file, runai-model-streamer and fastsafetensors (without GDS). What isn't installed is
skipped, and said so. `--folder` should be on a disk: files in memory are never cold. Loading and summing are timed apart
too, as what is mapped is read when it is used. Timings are reported, never judged.
"""

import argparse
import gc
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from python_load import forget
from support import machine, touch_free_memory, write_model

# A loader takes a path and gives its tensors by name, and what keeps their memory.
Loader = Callable[[Path], tuple[dict, object]]


def with_headrace() -> Loader:
    import headrace

    return lambda path: (headrace.load(path, device="cpu"), None)


def with_safetensors() -> Loader:
    from safetensors.torch import load_file

    return lambda path: (load_file(path), None)


def with_runai() -> Loader:
    from runai_model_streamer import SafetensorsStreamer

    def load(path: Path) -> tuple[dict, object]:
        with SafetensorsStreamer() as streamer:
            streamer.stream_file(str(path))
            return dict(streamer.get_tensors()), None  # of memory that they keep

    return load


def with_fastsafetensors() -> Loader:
    from fastsafetensors import SafeTensorsFileLoader, SingleGroup

    def load(path: Path) -> tuple[dict, object]:
        loader = SafeTensorsFileLoader(SingleGroup(), torch.device("cpu"), nogds=True)
        loader.add_filenames({0: [str(path)]})
        files = loader.copy_files_to_device()
        return {name: files.get_tensor(name) for name in loader.get_keys()}, (files, loader)

    return load


LOADERS = {"headrace": with_headrace, "safetensors": with_safetensors, "runai-model-streamer": with_runai,
           "fastsafetensors": with_fastsafetensors}  # fmt: skip


def run(load: Loader, path: Path) -> tuple[float, float, int]:
    """Seconds to load, seconds to load and sum, and the sum."""
    start = time.perf_counter()
    tensors, owner = load(path)
    loaded = time.perf_counter()
    total = sum(int(tensor.view(torch.int64).sum()) for tensor in tensors.values()) % 2**64
    end = time.perf_counter()
    del tensors
    for part in owner if isinstance(owner, tuple) else ():
        part.close()
    del owner
    gc.collect()
    return loaded - start, end - start, total


def rounds(label: str, loaders: dict[str, Loader], path: Path, count: int, before: Callable[[], None]) -> None:
    names, times = list(loaders), {name: [] for name in loaders}
    sums = set()
    for i in range(count + 1):
        for name in random.Random(i).sample(names, len(names)):
            before()
            loaded, whole, total = run(loaders[name], path)
            sums.add(total)
            if i > 0:  # the first round warms up
                times[name].append((loaded, whole))
    assert len(sums) == 1, "they loaded different bytes"
    ours = statistics.median(whole for _, whole in times["headrace"])
    for name, rows in times.items():
        wholes = [whole for _, whole in rows]
        median = statistics.median(wholes)
        print(f"{label:<5} {name:<22} {median:7.3f} s ({min(wholes):.3f} … {max(wholes):.3f})   loading alone "
              f"{statistics.median(loaded for loaded, _ in rows):7.3f} s   "
              f"{path.stat().st_size / median / 1e9:6.2f} GB/s   headrace / it {ours / median:5.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=3, help="GB")
    parser.add_argument("--runs", type=int, default=9)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--cold-only", action="store_true")
    only.add_argument("--warm-only", action="store_true")
    parser.add_argument("--touch", action="store_true", help="write to all free memory before each")
    parser.add_argument("--folder", type=Path, default=Path("."))
    arguments = parser.parse_args()
    loaders: dict[str, Loader] = {}
    for name, make in LOADERS.items():
        try:
            loaders[name] = make()
        except (ImportError, OSError) as error:
            print(f"{name}: skipped, {error}")
    if "headrace" not in loaders:
        sys.exit(0)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "model.safetensors"
        layers = max(1, round(arguments.size * 1e9 / (2 * 4096 * 8192)))
        write_model(path, [(f"layers.{i}.weight", [4096, 8192]) for i in range(layers)])
        print(f"{machine()}, load {os.getloadavg()[0]:.1f}; torch {torch.__version__}; {path.stat().st_size / 1e9:.2f} GB F16 "
              f"in {layers} tensors, loaded and summed; {arguments.runs} rounds after one that isn't counted; median "
              "(min … max)", flush=True)

        def before(cold: bool) -> None:
            if cold:
                forget(path)
            if arguments.touch:
                touch_free_memory()

        if not arguments.warm_only:
            rounds("cold", loaders, path, arguments.runs, lambda: before(True))
        if not arguments.cold_only:
            rounds("warm", loaders, path, arguments.runs, lambda: before(False))


if __name__ == "__main__":
    main()
