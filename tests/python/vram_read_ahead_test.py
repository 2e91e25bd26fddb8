"""What a model under management has its disk map read ahead, and when it doesn't ask."""

import gc
import os
from pathlib import Path

import pytest
import torch
from offloading import GIB, cached_bytes, drop, managed, mapped_bytes, saved
from reading import RangeServer

import headrace
import headrace.torch

WIDTH, LAYERS = 512, 6
LAYER = 2 * WIDTH * WIDTH  # bytes
X = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(4)).bfloat16()


def layers(bias=False, norm=False, dtype=torch.bfloat16):
    def make():
        torch.manual_seed(3)
        parts = [torch.nn.Linear(WIDTH, WIDTH, bias=bias, dtype=dtype) for _ in range(LAYERS)]
        return torch.nn.Sequential(*parts, *([torch.nn.LayerNorm(WIDTH, dtype=dtype)] if norm else []))

    return make


def run(model, x=X):
    with torch.no_grad():
        return model(x)


def asked_in(disk, model, passes):
    """How often the map was asked for a tensor, in each of so many passes."""
    found = []
    for _ in range(passes):
        before = disk.statistics.prefetched
        run(model)
        found.append(disk.statistics.prefetched - before)
    return found


@pytest.mark.parametrize("make", [layers(), layers(norm=True), layers(bias=True)], ids=["linear", "norm", "bias"])
def test_nothing_is_asked_for_while_the_cache_has_all(tmp_path, make):
    path = saved(make(), tmp_path)
    disk = headrace.DiskMap(path)
    there = managed(make, path, disk_map=disk, limit=0, dtype=torch.bfloat16)
    asked = asked_in(disk, there, 5)
    assert sum(asked[:2]) > 0 and asked[3:] == [0, 0]
    assert torch.equal(run(there), run(make()))


@pytest.mark.parametrize("make", [layers(), layers(bias=True)], ids=["linear", "bias"])
def test_what_the_cache_has_lost_is_asked_for_again(tmp_path, make):
    path = saved(make(), tmp_path)
    disk = headrace.DiskMap(path)
    there = managed(make, path, disk_map=disk, limit=0, dtype=torch.bfloat16)
    asked_in(disk, there, 4)
    for _ in range(3):
        drop(path)
        before = disk.statistics.prefetched
        assert torch.equal(run(there), run(make()))
        assert disk.statistics.prefetched >= before + LAYERS - 2  # but for the first, which found out


def test_a_unit_that_is_used_again_and_again_is_no_pass(tmp_path):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.again = torch.nn.Linear(WIDTH, WIDTH, bias=False, dtype=torch.bfloat16)
            self.rest = layers()()

        def forward(self, x):
            for _ in range(100):
                x = self.again(x)
            return self.rest(x)

    torch.manual_seed(5)
    path = saved(Model(), tmp_path)
    disk = headrace.DiskMap(path)
    there = managed(Model, path, disk_map=disk, limit=0, dtype=torch.bfloat16)
    seen = []
    there.rest[0].register_forward_pre_hook(lambda *_: seen.append(disk.statistics.prefetched))
    for _ in range(4):
        drop(path)
        with open(path, "rb", buffering=0) as file:  # but for the one that is used again and again
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            file.read(LAYER + 8192)
        assert cached_bytes(path) < 2 * LAYER
        before = disk.statistics.prefetched
        run(there)
    assert seen[-1] > before  # it was asked for before it was used


@pytest.mark.parametrize("how", [{"limit": 0}, {"preparing_device": "disk"}], ids=["limit", "nothing kept"])
def test_what_is_converted_is_read_ahead_where_it_is_never_loaded_ahead(tmp_path, how):
    make = layers(dtype=torch.float16)
    path = saved(make(), tmp_path)
    disk = headrace.DiskMap(path)
    there = managed(make, path, disk_map=disk, dtype=torch.bfloat16, **how)
    expected = run(make().to(torch.bfloat16))
    for _ in range(2):
        drop(path)
        before = disk.statistics.prefetched
        assert torch.equal(run(there), expected)
        assert disk.statistics.prefetched >= before + LAYERS - 1
    assert there.vram_manager.statistics.loads_ahead == 0 and disk.statistics.cached_bytes == 0


def test_of_a_server_nothing_is_held(tmp_path):
    """It would stay in memory, as much as the model has."""
    make = layers(dtype=torch.float16)
    path = saved(make(), tmp_path)
    with RangeServer(Path(path)) as server:
        disk = headrace.DiskMap(server.url)
        there = managed(make, None, disk_map=disk, limit=0, dtype=torch.float16)
        assert torch.equal(run(there, X.half()), run(make(), X.half()))
        assert disk.statistics.prefetched == 0 and disk.statistics.cached_bytes == 0


def test_neighbours_that_come_with_large_weights(tmp_path):
    """What stays has none, so that no limit is passed; what passes through has at most 4 MiB of them."""
    width, count = 1500, 8
    layer = 2 * width * width

    def make():
        torch.manual_seed(6)
        return torch.nn.Sequential(*(torch.nn.Linear(width, width, bias=False, dtype=torch.bfloat16) for _ in range(count)))

    path, x = saved(make(), tmp_path), torch.ones(1, width, dtype=torch.bfloat16)
    for limit, most in ((None, count * layer), (4 * layer, 4 * layer + (8 << 20)), (0, layer + (4 << 20))):
        there = managed(make, path, limit=None if limit is None else limit / GIB, dtype=torch.bfloat16)
        for _ in range(3):
            assert torch.equal(run(there, x), run(make(), x))
            assert mapped_bytes(path) <= most + count * 8192  # the pages that a weight begins and ends in
        del there
        gc.collect()
