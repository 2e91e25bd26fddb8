"""Saving from Python: headrace beside safetensors.torch.save_file and torch.save, interleaved, medians of ratios.

    PYTHONPATH=build/release/python python bench/python_save.py [--gigabytes 4] [--runs 9] [--folder /dev/shm]

The state dict is in memory before, and the folder's memory is touched first. Prints also the memory that saving takes,
each way in a process of its own, and how soon commit_async returns while the pages of its file are still dirty.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from support import machine, touch  # noqa: E402

MIB = 1 << 20


def state_dict(torch, gigabytes: float):
    """Tensors of 64 MiB in BF16, and small ones between them, as a transformer has."""
    state = {}
    for i in range(int(gigabytes * 1e9) // (64 * MIB)):
        state[f"layers.{i}.weight"] = torch.full((8192, 4096), i, dtype=torch.bfloat16)
        state[f"layers.{i}.norm"] = torch.full((4096,), i, dtype=torch.float32)
    return state


def ways(state, folder: Path):
    import headrace
    import headrace.torch
    import safetensors.torch
    import torch

    meta = headrace.collect_state_dict_meta(state)
    return {
        "headrace save_safetensors_streaming": lambda path: headrace.save_safetensors_streaming(
            iter(state.items()), path, meta),
        "headrace save_file": lambda path: headrace.save_file(state, path),
        "safetensors save_file": lambda path: safetensors.torch.save_file(state, path),
        "torch.save": lambda path: torch.save(state, path),
    }


def compare(state, folder: Path, runs: int) -> None:
    size = sum(tensor.nbytes for tensor in state.values())
    touch(folder, size)
    path = folder / "headrace-bench.safetensors"
    seconds = {name: [] for name in ways(state, folder)}
    saves = list(ways(state, folder).items())
    for run in range(runs + 1):
        for i in range(len(saves)):  # in turns, forwards and backwards: who comes after whom matters
            name, save = saves[(run - i if run % 2 else run + i) % len(saves)]
            path.unlink(missing_ok=True)
            start = time.perf_counter()
            save(path)
            if run > 0:  # the first is for warming up
                seconds[name].append(time.perf_counter() - start)
    path.unlink()
    reference = seconds["safetensors save_file"]
    print(f"{size / 1e9:.1f} GB into {folder}, {runs} interleaved runs")
    for name, own in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(own, reference))
        print(f"  {name:38} {statistics.median(own):6.2f} s  {size / 1e9 / statistics.median(own):5.2f} GB/s"
              f"  {ratio:5.2f} of safetensors")


def memory_of(way: str, gigabytes: float, folder: Path) -> str:
    done = subprocess.run([sys.executable, __file__, "--memory-of", way, "--gigabytes", str(gigabytes), "--folder",
                           str(folder)], capture_output=True, text=True)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def status(key: str) -> int:
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) * 1024


def measure_memory(way: str, gigabytes: float, folder: Path) -> None:
    import torch

    import headrace
    import safetensors.torch

    shape, count = (8192, 4096), int(gigabytes * 1e9) // (64 * MIB)
    path = folder / "headrace-bench.safetensors"

    def made():
        for i in range(count):
            yield f"layers.{i}.weight", torch.full(shape, i, dtype=torch.bfloat16)

    headrace.save_file({"a": torch.zeros(3)}, path)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    if way == "streaming":
        headrace.save_safetensors_streaming(made(), path, [(f"layers.{i}.weight", "BF16", shape) for i in range(count)])
    elif way == "safetensors":
        safetensors.torch.save_file(dict(made()), path)
    else:
        torch.save(dict(made()), path)
    path.unlink()
    print(f"{(status('VmHWM') - before) / MIB:.0f} MiB")


def background(folder: Path) -> None:
    """On a disk: the pages are dirty when commit_async is called."""
    import torch

    import headrace

    path = folder / "headrace-bench.safetensors"
    tensors = {f"t{i}": torch.full((8192, 4096), i, dtype=torch.bfloat16) for i in range(16)}
    returned, flushed = [], []
    for _ in range(5):
        writer = headrace.Writer(path, tensors, force=True)
        for name, tensor in tensors.items():
            writer.write(name, tensor)
        start = time.perf_counter()
        future = writer.commit_async()
        returned.append(time.perf_counter() - start)
        future.result()
        flushed.append(time.perf_counter() - start)
    path.unlink()
    print(f"commit_async of 1.1 GB of dirty pages in {folder}: returns after {1000 * statistics.median(returned):.2f} ms"
          f" (at most {1000 * max(returned):.2f}), the flush takes {statistics.median(flushed):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--disk", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        measure_memory(options.memory_of, options.gigabytes, options.folder)
        return
    try:
        import safetensors.torch  # noqa: F401
        import torch
    except ImportError as missing:
        print(f"saving: skipped, {missing.name} isn't installed")
        return
    print(machine())
    compare(state_dict(torch, options.gigabytes), options.folder, options.runs)
    print(f"memory beyond what was there, {options.gigabytes:g} GB of 64 MiB tensors from a generator:")
    for way in ("streaming", "safetensors", "torch.save"):
        print(f"  {way:38} {memory_of(way, options.gigabytes, options.folder)}")
    background(options.disk)


if __name__ == "__main__":
    main()
