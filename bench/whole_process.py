#!/usr/bin/env python3
"""Times whole conversions against a plain two-thread copy loop, interleaved, in memory.

    whole_process.py HEADRACE COPY_LOOP [--pairs 9] [--gigabytes 3.2] [--folder /dev/shm]

Every pair runs the loop and the conversion one after the other on the same input; the figures are medians over the
pairs and the median of the pairs' ratios. The memory that outputs will take is touched before the first pair, so that
no run pays for the host handing it over. Timings are reported, never judged.
"""
import argparse
import sys
import tempfile
from pathlib import Path

from support import alone, machine, pairs, touch, write_model


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
        # What measuring costs: the same conversion with and without.
        measured = [*convert, "--type", "q4_K", "--measure"]
        plain_out = folder / "plain.gguf"
        plain = [*convert[:4], str(plain_out), *convert[5:], "--type", "q4_K"]
        pairs("F16 -> Q4_K, --measure", measured, plain, out, plain_out, arguments.pairs, "without")
        tiny = [arguments.headrace, "convert", str(small), "-o", str(out), "--threads", "2", "--quiet"]
        alone("16,000 tensors of 4 KiB", tiny, out, arguments.pairs)
        big.unlink()
        write_model(mixed, [("huge", [1, rows * 4096 * 100])] + [(f"small.{i}", [16, 256]) for i in range(20_000)])
        uneven = [arguments.headrace, "convert", str(mixed), "-o", str(out), "--threads", "2", "--quiet"]
        alone("one huge, 20,000 small: Q4_0", [*uneven, "--type", "q4_0"], out, arguments.pairs)


if __name__ == "__main__":
    sys.exit(main())
