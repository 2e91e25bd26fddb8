#!/usr/bin/env python3
"""Times conversions of other kinds of sources beside the same weights in one safetensors file, and of a URL beside bare
libcurl, interleaved, in memory.

    sources.py HEADRACE HTTP_LOOP [--pairs 9] [--gigabytes 2] [--folder /dev/shm]

PyTorch writes the archive, where it is installed; nginx serves the file on loopback, where it is. What is missing is
skipped, and said so. Timings are reported, never judged.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from support import machine, pairs, touch, write_model

ROOT = Path(__file__).resolve().parent.parent


def write_shards(folder: Path, tensors: list[tuple[str, list[int]]], count: int) -> Path:
    """The same weights in `count` files with an index, the files' contents being write_model's."""
    folder.mkdir()
    each, places = -(-len(tensors) // count), {}
    for i in range(count):
        name, part = f"model-{i + 1:05}-of-{count:05}.safetensors", tensors[i * each : (i + 1) * each]
        write_model(folder / name, part)
        places |= {tensor: name for tensor, _ in part}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return index


def write_archive(path: Path, model: Path) -> bool:
    """The weights of `model` as PyTorch saves them; False where there is no PyTorch."""
    try:
        import torch
        from safetensors.torch import load_file
    except ImportError:
        return False
    torch.save(load_file(model), path)
    return True


def beside_one_file(headrace: str, folder: Path, model: Path, others: dict[str, Path], count: int) -> None:
    out, their_out = folder / "ours.gguf", folder / "theirs.gguf"
    for label, type_words in {"F16 -> F16": [], "F16 -> Q8_0": ["--type", "q8_0"]}.items():
        words = ["--threads", "2", "--quiet", *type_words]
        for kind, path in others.items():
            ours = [headrace, "convert", str(path), "-o", str(out), *words]
            theirs = [headrace, "convert", str(model), "-o", str(their_out), *words]
            pairs(f"{kind}, {label}", ours, theirs, out, their_out, count, "one safetensors")


def beside_curl(headrace: str, http_loop: str, folder: Path, model: Path, count: int) -> None:
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not binary or not Path(http_loop).exists():
        print("HTTP: skipped, nginx isn't installed or this build has no libcurl")
        return
    sys.path.insert(0, str(ROOT / "tests/http"))
    from nginx import Nginx

    (folder / "nginx").mkdir()
    with Nginx(binary, folder / "nginx") as server:
        (server.files / "model.safetensors").symlink_to(model)
        url, out, their_out = f"{server.url}/model.safetensors", folder / "ours.safetensors", folder / "theirs"
        for connections in (1, 2, 4, 8):
            ours = [headrace, "convert", url, "-o", str(out), "--connections", str(connections), "--quiet"]
            theirs = [http_loop, url, str(their_out), str(connections)]
            pairs(f"HTTP, {connections} connections", ours, theirs, out, their_out, count, "bare libcurl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("headrace")
    parser.add_argument("http_loop")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--folder", default="/dev/shm")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder_name:
        folder = Path(folder_name)
        rows = int(arguments.gigabytes * 1e9 / 2 / 4096 / 100)
        tensors = [(f"blk.{i}.weight", [rows, 4096]) for i in range(100)]
        model, archive = folder / "model.safetensors", folder / "model.pt"
        write_model(model, tensors)
        print(f"{machine()}; {arguments.folder}; {model.stat().st_size / 1e9:.2f} GB F16 in 100 tensors;")
        print(f"{arguments.pairs} interleaved pairs after one that isn't counted; median (min … max)", flush=True)
        others = {"8 shards": write_shards(folder / "shards", tensors, 8)}
        if write_archive(archive, model):
            others["torch archive"] = archive
        else:
            print("torch archive: skipped, PyTorch isn't installed")
        touch(folder, 2 * model.stat().st_size)
        beside_one_file(arguments.headrace, folder, model, others, arguments.pairs)
        for path in others.values():
            path.unlink()
        shutil.rmtree(folder / "shards")
        beside_curl(arguments.headrace, arguments.http_loop, folder, model, arguments.pairs)


if __name__ == "__main__":
    sys.exit(main())
