"""What the tests of vram management share: models, checkpoints of them, and disk maps that are slow or fail."""

import ctypes
import os
import time

import pytest
import torch

import headrace
import headrace.torch

# The layers are too small for more threads, which on a busy machine wait for each other longer than they compute.
torch.set_num_threads(1)

DISK = {"offload_device": "disk", "onload_device": "disk", "computation_device": "cpu"}
GIB = 1 << 30


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = torch.nn.LayerNorm(width)
        self.up = torch.nn.Linear(width, 2 * width)
        self.down = torch.nn.Linear(2 * width, width, bias=False)
        self.scale = torch.nn.Parameter(torch.randn(width))
        self.register_buffer("ramp", torch.arange(width) / width, persistent=False)

    def forward(self, x):
        return x + self.scale * self.down(torch.relu(self.up(self.norm(x)))) + self.ramp


class Model(torch.nn.Module):
    """Tied weights, a parameter of a container's, one of the model's, buffers."""

    def __init__(self, width=64, layers=4):
        super().__init__()
        self.embed = torch.nn.Embedding(50, width)
        self.blocks = torch.nn.ModuleList(Block(width) for _ in range(layers))
        self.head = torch.nn.Linear(width, 50, bias=False)
        self.head.weight = self.embed.weight
        self.start = torch.nn.Parameter(torch.randn(width))
        self.register_buffer("mean", torch.zeros(width))

    def forward(self, tokens):
        x = self.embed(tokens) + self.start - self.mean
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def chain(layers=8, width=64, seed=3):
    """Layers of one size: 4 * width * width bytes of float32 each."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(*(torch.nn.Linear(width, width, bias=False) for _ in range(layers)))


def saved(model, folder, name="m.safetensors", **how):
    return headrace.torch.save_streaming(model, folder / name, **how)


def managed(make, path, *, disk_map=None, limit=None, dtype=torch.float32, module_map=None, **config):
    """The model built without memory, and run from disk."""
    with headrace.torch.skip_model_initialization():
        model = make()
    disk = disk_map if disk_map is not None else headrace.DiskMap(path)
    vram_config = {**DISK, "computation_dtype": dtype, **config}
    return headrace.torch.enable_vram_management(model.eval(), module_map, vram_config, limit, disk)


class SlowMap(headrace.DiskMap):
    """Each tensor takes a while, and those of `broken` fail."""

    def __init__(self, path, seconds=0.0, **how):
        super().__init__(path, **how)
        self.seconds = seconds
        self.broken = set()
        self.asked = []

    def read_into(self, name, tensor):
        self.asked.append(name)
        time.sleep(self.seconds)
        if name in self.broken:
            raise headrace.IoError(f"the disk is broken at {name}")
        super().read_into(name, tensor)


def mapped_bytes(path):
    """Of a file, that this process has in memory."""
    with open("/proc/self/smaps") as maps:
        total, inside = 0, False
        for line in maps:
            if "-" in line.split(" ", 1)[0]:
                inside = line.rstrip("\n").endswith(str(path))
            elif inside and line.startswith("Rss:"):
                total += int(line.split()[1]) << 10
    return total


def drop(path):
    """The system's cache loses the file; skips where it doesn't or doesn't say, and where it can't be read past that."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
        os.pread(file, 1, 0)
        if not cached_bytes(path):
            pytest.skip("of this file system nobody says what is cached")
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        pytest.skip("this file system has no direct reads")
    finally:
        os.close(file)
    if cached_bytes(path):
        pytest.skip("this file system's cache can't be dropped")


def cached_bytes(path):
    """That the system's cache has of a file."""
    class Range(ctypes.Structure):
        _fields_ = [("first", ctypes.c_uint64), ("count", ctypes.c_uint64)]

    found = (ctypes.c_uint64 * 5)()
    file = os.open(path, os.O_RDONLY)
    try:
        call = ctypes.CDLL(None).syscall
        if call(451, file, ctypes.byref(Range(0, os.path.getsize(path))), found, 0) != 0:
            pytest.skip("the system doesn't say what is cached")
    finally:
        os.close(file)
    return found[0] * os.sysconf("SC_PAGE_SIZE")
