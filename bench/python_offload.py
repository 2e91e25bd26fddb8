#!/usr/bin/env python3
"""Times a model that isn't in memory: passes of a transformer-like model of bf16 layers on the CPU, all of whose weights
are on disk, beside one that is resident; each way in processes of its own, which also say their peak memory.

    PYTHONPATH=build/release/python python_offload.py [--size 1.8] [--tokens 4 256] [--rounds 2] [--runs 3] [--folder .]
                                                      [--only NAME …]

Beside headrace.torch.enable_vram_management (nothing kept; 5 % and a quarter of the weights kept): accelerate's disk
offload, DiffSynth-Studio's, and safe_open in each layer's forward. What isn't installed is skipped, and said so. What
counts is a pass less the resident pass: of a few tokens, as when a text is written, the disk takes longer than computing;
of hundreds, as a prompt or a picture has, what is read meanwhile costs little. Cold: before each pass the process lets go of
the files' pages that it has mapped, and the system is asked to drop its cache of them; bytes that came from the disk are
printed. Capped: a process, its share of the system's cache included, may have less memory than the model (`--cap` of it and
300 MiB for the program): nothing is dropped but by the system itself. That needs a memory group, which root may make;
without, it is skipped, and said so. `--folder` should be on a disk. Timings are reported, never judged.
"""

import argparse
import contextlib
import ctypes
import gc
import importlib.util
import json
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

from support import machine, memory_group, read_through

BLOCKS = 32
PROGRAM = 300 << 20  # bytes


def build(width: int):
    """The model, wherever torch is told to make it."""
    import torch

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            make = lambda i, o: torch.nn.Linear(width * i, width * o, bias=False, dtype=torch.bfloat16)  # noqa: E731
            self.q, self.k, self.v, self.o = (make(1, 1) for _ in range(4))
            self.up, self.down = make(1, 4), make(4, 1)

        def forward(self, x):
            mixed = torch.softmax(self.q(x) @ self.k(x).T / width, -1) @ self.v(x)
            x = x + self.o(mixed)
            return x + self.down(torch.relu(self.up(x)))

    return torch.nn.Sequential(*(Block() for _ in range(BLOCKS))).eval()


def on_meta(width: int):
    import torch

    with torch.device("meta"):
        return build(width)


def resident(path: str, width: int, folder: str):
    import headrace.torch

    model = on_meta(width)
    headrace.torch.load_into(model, path)
    return model


def with_headrace(share: float):
    def make(path: str, width: int, folder: str):
        import torch

        import headrace

        return headrace.torch.enable_vram_management(
            on_meta(width), vram_limit=share * os.path.getsize(path) / (1 << 30), disk_map=headrace.DiskMap(path),
            vram_config={"offload_device": "disk", "onload_device": "disk", "computation_dtype": torch.bfloat16,
                         "computation_device": "cpu"})

    return make


def with_accelerate(path: str, width: int, folder: str):
    import accelerate

    model = on_meta(width)
    index = {name: {"safetensors_file": path, "weight_name": name, "dtype": "bfloat16"} for name in model.state_dict()}
    return accelerate.dispatch_model(model, {"": "disk"}, main_device="cpu", offload_dir=folder, offload_index=index,
                                     force_hooks=True)


def with_diffsynth(path: str, width: int, folder: str):
    import torch

    # Its package brings all pipelines along, and what they need; only this part of it is wanted.
    root = Path(importlib.util.find_spec("diffsynth").origin).parent
    for name, place in (("diffsynth", root), ("diffsynth.core", root / "core")):
        package = types.ModuleType(name)
        package.__path__ = [str(place)]
        sys.modules[name] = package
    from diffsynth.core.vram.disk_map import DiskMap
    from diffsynth.core.vram.layers import AutoWrappedLinear, enable_vram_management

    states = {f"{state}_{what}": "disk" for state in ("offload", "onload", "preparing") for what in ("dtype", "device")}
    model = enable_vram_management(
        on_meta(width), {torch.nn.Linear: AutoWrappedLinear}, disk_map=DiskMap(path, "cpu"),
        vram_config={**states, "computation_dtype": torch.bfloat16, "computation_device": "cpu"})
    for module in model.modules():
        if hasattr(module, "onload"):
            module.onload()
    return model


def with_safe_open(path: str, width: int, folder: str):
    import torch
    from safetensors import safe_open

    model = on_meta(width)

    def before(name: str):
        def load(module, given) -> None:
            with safe_open(path, "pt") as file:
                module._parameters["weight"] = torch.nn.Parameter(file.get_tensor(name), requires_grad=False)

        return load

    def after(module, given, result) -> None:
        module._parameters["weight"] = None

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(before(name + ".weight"))
            module.register_forward_hook(after)
    return model


WAYS = {"resident": resident, "headrace, nothing kept": with_headrace(0), "headrace, 5 % kept": with_headrace(0.05),
        "headrace, 25 % kept": with_headrace(0.25), "accelerate": with_accelerate, "DiffSynth-Studio": with_diffsynth, "safe_open": with_safe_open}  # fmt: skip


def status(name: str) -> int:
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith(name))


def disk_bytes() -> int:
    return next(int(line.split()[1]) for line in open("/proc/self/io") if line.startswith("read_bytes"))


def forget(paths: list[Path]) -> None:
    libc, names = ctypes.CDLL(None), {str(path.resolve()) for path in paths}
    with open("/proc/self/maps") as maps:
        for line in maps:
            row = line.split(maxsplit=5)
            if row[-1].strip() in names:
                first, end = (int(at, 16) for at in row[0].split("-"))
                libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), mmap.MADV_DONTNEED)
    for path in paths:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(name: str, path: str, width: int, folder: str, runs: int, tokens: int, group: Path | None) -> dict:
    """One way, in this process."""
    if group is not None:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        forget([Path(path)])  # else it is in somebody else's share
    import torch

    before = status("VmRSS")
    try:
        model = WAYS[name](path, width, folder)
    except (ImportError, AttributeError) as error:
        return {"skipped": str(error)}
    x = torch.randn(tokens, width, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    files = [Path(path), *(file for file in Path(folder).rglob("*") if file.is_file())]
    kinds = ("warm", "cold") if group is None else ("capped",)
    times: dict = {kind: [] for kind in kinds}
    read = 0
    with torch.no_grad():
        result = model(x)
        if group is not None:
            model(x)  # by now the system has dropped what it will
        for kind in kinds:
            for _ in range(runs):
                gc.collect()
                if kind == "cold" and name != "resident":  # whose pages are its memory
                    forget(files)
                bytes_before, start = disk_bytes(), time.perf_counter()
                again = model(x)
                times[kind].append(time.perf_counter() - start)
                read = disk_bytes() - bytes_before
                assert torch.equal(again, result)
    return {**times, "peak": status("VmHWM") - before, "read": read, "sum": float(result.double().sum())}


def report(name: str, found: dict, base: dict | None, ours: dict | None) -> None:
    if "skipped" in found:
        print(f"{name:<24} skipped, {found['skipped']}", flush=True)
        return
    text = f"{name:<24} peak {found['peak'] / 1e6:7.0f} MB"
    for kind in ("warm", "cold", "capped"):
        times = found.get(kind)
        if times is None:
            continue
        text += f"   {kind} {statistics.median(times):6.2f} s ({min(times):.2f} … {max(times):.2f})"
        if base is not None:
            resident_pass = statistics.median(base["warm"] + base["cold"])  # it does the same in both
            extra = statistics.median(times) - resident_pass
            text += f", + {extra:6.3f}"
            if ours is not None and kind in ours:
                own = statistics.median(ours[kind]) - resident_pass
                text += f", headrace / it {own / extra:5.2f}" if extra > 0 else ""
    print(text + f"   read from disk {found['read'] / 1e9:.2f} GB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=1.8, help="GB")
    parser.add_argument("--tokens", type=int, nargs="+", default=[4, 256],
                        help="of a pass: how much is computed with each weight")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each way, one way after the other")
    parser.add_argument("--runs", type=int, default=3, help="passes of each process that are counted")
    parser.add_argument("--folder", type=Path, default=Path("."))
    parser.add_argument("--only", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--cap", type=float, default=0.75, help="of the model: memory of the capped passes; 0: none of them")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)  # way, model, width, folder
    parser.add_argument("--group", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, path, width, folder = arguments.child
        print(json.dumps(measure(name, path, int(width), folder, arguments.runs, *arguments.tokens,
                                 arguments.group)))
        return
    if importlib.util.find_spec("headrace") is None or importlib.util.find_spec("torch") is None:
        print("skipped: headrace and torch aren't both installed")
        return
    import torch

    import headrace.torch

    width = int((arguments.size * 1e9 / (BLOCKS * 12 * 2)) ** 0.5) // 64 * 64
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "model.safetensors"
        generator = torch.Generator().manual_seed(1)
        tensors = [(name, "BF16", tuple(param.shape)) for name, param in on_meta(width).named_parameters()]
        headrace.save_safetensors_streaming(
            ((name, (torch.randn(shape, generator=generator) / width**0.5).bfloat16()) for name, _, shape in tensors),
            path, tensors)
        with open(path, "rb") as file:
            os.fsync(file.fileno())  # the cache keeps what isn't on the disk yet, whoever asks
        print(f"{machine()}, load {os.getloadavg()[0]:.1f}; torch {torch.__version__}; {path.stat().st_size / 1e9:.2f} GB BF16 "
              f"in {len(tensors)} layers; {arguments.runs} passes after one that isn't counted, in each of {arguments.rounds} "
              "processes; median (min … max); + is a pass less the resident one; peak beyond what importing takes", flush=True)
        cap = int(arguments.cap * path.stat().st_size) + PROGRAM
        with memory_group(cap) if arguments.cap else contextlib.nullcontext() as group:
            if arguments.cap:
                print("capped: skipped, there can't be a memory group" if group is None else
                      f"capped: at {cap / 1e9:.2f} GB, after two passes that aren't counted", flush=True)
            for tokens in arguments.tokens:
                print(f"{tokens} tokens a pass", flush=True)
                compare(arguments, path, width, tokens, group)


def read_anew(path: Path) -> None:
    """The size of the cache's pages is that which whoever read the file last asked for: the same for all."""
    forget([path])
    read_through(path)


def run_child(arguments, name: str, path: Path, width: int, tokens: int, group: Path | None) -> dict | None:
    read_anew(path)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as own:
        done = subprocess.run([sys.executable, __file__, "--runs", str(arguments.runs), "--tokens", str(tokens),
                               "--child", name, str(path), str(width), own, *(["--group", str(group)] if group else [])],
                              stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        return None
    found = json.loads(done.stdout.splitlines()[-1])
    return found if "skipped" in found else {**found, "sums": {found["sum"]}}


def joined(rows: dict, more: dict) -> dict:
    """What two processes of a way found."""
    times = {kind: rows.get(kind, []) + more.get(kind, []) for kind in ("warm", "cold", "capped") if kind in {**rows, **more}}
    return {**more, **times, "peak": max(rows["peak"], more["peak"]), "sums": rows["sums"] | more["sums"]}


def compare(arguments, path: Path, width: int, tokens: int, group: Path | None) -> None:
    """All ways, each in processes of its own."""
    found: dict[str, dict] = {}
    for _ in range(arguments.rounds):
        for name in arguments.only:
            if "skipped" in found.get(name, {}):
                continue
            row = run_child(arguments, name, path, width, tokens, None)
            if row is None:
                print(f"{name:<24} failed, and has fewer processes than the others")
                continue
            if group is not None and name != "resident" and "skipped" not in row:
                capped = run_child(arguments, name, path, width, tokens, group)
                if capped is None:
                    print(f"{name:<24} failed with so little memory")
                else:
                    row["capped"] = capped["capped"]
            found[name] = joined(found[name], row) if name in found else row
    for name, row in found.items():
        ours = found.get("headrace, nothing kept") if not name.startswith(("headrace", "resident")) else None
        report(name, row, found.get("resident") if name != "resident" else None, ours)
    sums = {name: row["sums"] for name, row in found.items() if "sums" in row}
    assert len(set().union(*sums.values())) <= 1, f"they computed different things: {sums}"


if __name__ == "__main__":
    main()
