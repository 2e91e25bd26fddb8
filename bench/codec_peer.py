#!/usr/bin/env python3
"""Every block type's codec beside the gguf package's (numpy), in one run: million weights per second of one core.

    codec_peer.py CODEC_BENCH

Ours are the best instruction set's medians of `codec_bench --table`; the package's are medians of five turns. A line says
so where the package can't do a type. Timings are reported, never judged.
"""
import statistics
import subprocess
import sys
import time

import numpy as np

WEIGHTS = 1 << 20


def ours(codec_bench: str) -> dict[tuple[str, str], float]:
    """{(type, what): speed} of the first target listed for each, which is the best this processor has."""
    speeds = {}
    text = subprocess.run([codec_bench, "--table"], capture_output=True, text=True, check=True).stdout
    print(text, flush=True)
    for line in text.splitlines()[2:]:
        kind, what, _target, median, *_ = line.split()
        speeds.setdefault((kind, what), float(median))
    return speeds


def speed_of(action) -> float:
    """Million weights per second of processor time."""
    turns = []
    for _ in range(5):
        start = time.process_time()
        action()
        turns.append(WEIGHTS / (time.process_time() - start) / 1e6)
    return statistics.median(turns)


def main() -> None:
    speeds = ours(sys.argv[1])
    try:
        import gguf
    except ImportError:
        print("the gguf package isn't installed: no peer to compare with")
        return
    numbers = (np.random.default_rng(1).standard_normal((WEIGHTS // 4096, 4096), dtype=np.float32) * 0.02).astype(np.float32)
    print(f"{'type':8} {'what':8} {'ours':>8} {'gguf':>8} {'ratio':>8}")
    for (name, what), speed in speeds.items():
        kind = gguf.GGMLQuantizationType.__members__.get(name)
        try:
            if kind is None:
                raise NotImplementedError
            block, size = gguf.GGML_QUANT_SIZES[kind]
            stored = np.full((WEIGHTS // 4096, 4096 // block * size), 0x2B, np.uint8)
            action = {
                "encode": lambda: gguf.quants.quantize(numbers, kind),
                "decode": lambda: gguf.quants.dequantize(stored, kind),
            }[what]
            action()
            theirs = speed_of(action)
            print(f"{name:8} {what:8} {speed:8.0f} {theirs:8.1f} {speed / theirs:8.1f}", flush=True)
        except (NotImplementedError, KeyError):
            print(f"{name:8} {what:8} {speed:8.0f} {'–':>8} {'–':>8}  the package can't")


if __name__ == "__main__":
    main()
