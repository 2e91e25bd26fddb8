#!/usr/bin/env python3
"""Times passes through a model that a C++ Residency has on the host under a limit of a quarter of it, beside all of it
resident and beside the plain loop that reads each tensor into one buffer.

    residency.py RESIDENCY_PASS [--size 1.6] [--work 1 4] [--runs 5] [--folder .] [--cap 0.75]

Work: how often each tensor is added up. Warm: the system's cache has the file. Cold: it is dropped before each pass.
Capped: process and cache may have less memory together than the model (see python_offload.py). `--folder` should be on a
disk. Timings are reported, never judged.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

from support import machine, memory_group, read_through, write_model

UNITS = 96
WAYS = {"all resident": ("residency", 1.0), "a quarter resident": ("residency", 0.25), "plain loop": ("loop", 0.0)}


def passes(arguments, way: str, path: Path, work: int, kind: str, group: Path | None) -> dict:
    name, share = WAYS[way]

    def enter() -> None:
        if kind == "capped":
            (group / "cgroup.procs").write_text(str(os.getpid()))

    if kind == "capped":  # what is cached must be in the group's share
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    else:
        read_through(path)
    done = subprocess.run([arguments.program, str(path), name, str(share), str(work), str(arguments.runs),
                           *(["cold"] if kind == "cold" else [])], stdout=subprocess.PIPE, check=True, preexec_fn=enter)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="bench/residency_pass of a build")
    parser.add_argument("--size", type=float, default=1.6, help="GB")
    parser.add_argument("--work", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("."))
    parser.add_argument("--cap", type=float, default=0.75, help="of the model: memory of the capped passes; 0: none of them")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "model.safetensors"
        rows = int(arguments.size * 1e9 / UNITS / 2 / 4096)
        write_model(path, [(f"blocks.{i}.weight", [rows, 4096]) for i in range(UNITS)])
        size = path.stat().st_size
        print(f"{machine()}, load {os.getloadavg()[0]:.1f}; {size / 1e9:.2f} GB F16 in {UNITS} units; {arguments.runs} passes "
              "after two that aren't counted; median (min … max); disk: bytes of the last pass", flush=True)
        cap = int(arguments.cap * size) + (64 << 20)
        with memory_group(cap) if arguments.cap else contextlib.nullcontext() as group:
            if arguments.cap:
                print("capped: skipped, there can't be a memory group" if group is None else f"capped: at {cap / 1e9:.2f} GB")
            for work in arguments.work:
                for kind in ("warm", "cold", *(["capped"] if group is not None else [])):
                    compare(arguments, path, work, kind, group)


def compare(arguments, path: Path, work: int, kind: str, group: Path | None) -> None:
    sums = set()
    for way in WAYS:
        if way == "all resident" and kind != "warm":
            continue  # it reads nothing
        found = passes(arguments, way, path, work, kind, group)
        sums.add(found["sum"])
        times = found["seconds"]
        text = f"added up {work}x, {kind:<7} {way:<20} {statistics.median(times):6.3f} s ({min(times):.3f} … {max(times):.3f})"
        text += f"   peak {found['peak'] / 1e6:5.0f} MB   disk {found['read'] / 1e9:4.2f} GB"
        if way != "plain loop":
            text += f"   hits {found['hit_rate']:.2f}, stalled {found['stalled']:.3f} s a pass"
        print(text, flush=True)
    assert len(sums) == 1, "they saw different bytes"


if __name__ == "__main__":
    main()
