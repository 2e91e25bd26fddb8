"""Checkpoints larger than a test wants to write: sparse files with numbers in a few places."""

import hashlib
import re
import struct

import numpy as np

import weights

TEMPORARY = re.compile(r"\.headrace-[0-9a-f]+\.tmp")


def tame_halves(count, seed):
    """`count` F16 numbers, finite and small, made in no time: random bits less the highest of the exponent."""
    bits = np.random.default_rng(seed).integers(0, 1 << 16, count, dtype=np.uint16)
    return (bits & 0xBFFF).view(np.float16)


def write_halves(path, shapes, seed=1, metadata=None):
    """A safetensors file of F16 tensors full of numbers. `shapes`: {name: shape}."""
    header, _ = weights.safetensors_header({name: ("F16", shape) for name, shape in shapes.items()}, metadata)
    with open(path, "wb") as file:
        file.write(header)
        for i, shape in enumerate(shapes.values()):
            tame_halves(int(np.prod(shape, dtype=np.int64)), seed + i).tofile(file)
    return path


def write_islands(path, shapes, islands):
    """A sparse safetensors file of F16 tensors, zero but for `islands`: {name: {first element: array of float16}}."""
    specs = {name: ("F16", shape) for name, shape in shapes.items()}
    header, _ = weights.safetensors_header(specs)
    weights.write_sparse_safetensors(path, specs)
    begin = len(header)
    with open(path, "r+b") as file:
        for name, shape in shapes.items():
            for first, numbers in islands.get(name, {}).items():
                file.seek(begin + 2 * first)
                file.write(numbers.tobytes())
            begin += 2 * int(np.prod(shape, dtype=np.int64))
    return path


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listing(folder):
    """Names in the folder, the hidden ones too."""
    return sorted(path.name for path in folder.iterdir())


def _skip_gguf_value(file, kind):
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    if kind in sizes:
        file.read(sizes[kind])
    elif kind == 8:
        file.read(struct.unpack("<Q", file.read(8))[0])
    else:
        element, count = struct.unpack("<IQ", file.read(12))
        for _ in range(count):
            _skip_gguf_value(file, element)


def gguf_places(path, alignment=32):
    """{name: (its first byte in the file, elements)}; the gguf package's reader takes long for 100,000 tensors."""
    with open(path, "rb") as file:
        magic, version, tensors, pairs = struct.unpack("<4sIQQ", file.read(24))
        assert magic == b"GGUF" and version == 3
        for _ in range(pairs):
            file.read(struct.unpack("<Q", file.read(8))[0])
            _skip_gguf_value(file, struct.unpack("<I", file.read(4))[0])
        places = {}
        for _ in range(tensors):
            name = file.read(struct.unpack("<Q", file.read(8))[0]).decode()
            (rank,) = struct.unpack("<I", file.read(4))
            *dims, _, offset = struct.unpack(f"<{rank}QIQ", file.read(8 * rank + 12))
            places[name] = (offset, int(np.prod(dims, dtype=np.int64)))
        data = -(-file.tell() // alignment) * alignment
    return {name: (data + offset, elements) for name, (offset, elements) in places.items()}
