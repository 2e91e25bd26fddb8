"""headrace.torch.enable_vram_management on the CPU: weights that are used where they lie in their file."""

import gc
import os
import time

import pytest
import torch
from offloading import GIB, cached_bytes, drop, managed, mapped_bytes, saved
from reading import run_python

import headrace
import headrace.torch

LAYERS, WIDTH = 8, 512
LAYER = 2 * WIDTH * WIDTH  # bytes


def chain(dtype=torch.bfloat16, layers=LAYERS):
    torch.manual_seed(3)
    return torch.nn.Sequential(*(torch.nn.Linear(WIDTH, WIDTH, bias=False, dtype=dtype) for _ in range(layers)))


X = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(4)).bfloat16()


def run(model, x=X):
    with torch.no_grad():
        return model(x)


@pytest.fixture
def path(tmp_path):
    return saved(chain(), tmp_path)


@pytest.mark.parametrize("units", [0, 1, 3, None])
def test_results_and_memory(path, units):
    limit = None if units is None else units * LAYER / GIB
    there = managed(chain, path, limit=limit, dtype=torch.bfloat16)
    for _ in range(4):
        assert torch.equal(run(there), run(chain()))
        assert mapped_bytes(path) <= LAYER * (LAYERS if units is None else units) + (LAYERS << 13)
    assert all(unit.in_place for unit in there.vram_manager.units)
    statistics = there.vram_manager.statistics
    assert statistics.peak_bytes <= LAYER * (LAYERS if units is None else max(units, 1))
    assert statistics.passes == 4 and statistics.uses == 4 * LAYERS
    assert statistics.evictions == {0: 4 * LAYERS, None: 0}.get(units, statistics.evictions)


def test_other_types_are_copied(tmp_path):
    path = saved(chain(torch.float16), tmp_path)
    there = managed(lambda: chain(torch.float16), path, dtype=torch.bfloat16)
    expected = run(chain(torch.float16).to(torch.bfloat16))
    assert torch.equal(run(there), expected) and mapped_bytes(path) == 0
    assert not any(unit.in_place for unit in there.vram_manager.units)


def test_small_tensors_beside_large_ones(tmp_path):
    def make():
        torch.manual_seed(5)
        return torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH, dtype=torch.bfloat16),
                                   torch.nn.LayerNorm(WIDTH, dtype=torch.bfloat16))

    there = managed(make, saved(make(), tmp_path), limit=0, dtype=torch.bfloat16)
    for _ in range(3):
        assert torch.equal(run(there), run(make()))
    gc.collect()
    assert 0 < there.vram_manager.memory.pool.free_bytes <= 16 << 10  # nothing of the large ones


def test_a_weight_that_was_kept_is_the_files(path):
    there = managed(chain, path, limit=0, dtype=torch.bfloat16)
    kept = []
    for layer in there:
        layer.module.register_forward_hook(lambda module, *_: kept.append(module.weight))
    run(there)
    run(there)
    for tensor, layer in zip(kept, [*chain(), *chain()]):
        assert torch.equal(tensor, layer.weight)


def test_a_file_that_is_written_to_between_passes(path):
    there = managed(chain, path, dtype=torch.bfloat16)
    run(there)
    time.sleep(0.05)  # the clock of files is coarse
    with open(path, "r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"x")
    for _ in range(2):
        with pytest.raises(headrace.IoError, match="chang|written"):
            run(there)


@pytest.mark.parametrize("limit", [0, None])
def test_a_file_that_is_cut_short_while_it_computes(path, limit):
    there = managed(chain, path, limit=limit, dtype=torch.bfloat16)
    run(there)
    size = os.path.getsize(path)
    there[0].module.register_forward_pre_hook(lambda *_: os.truncate(path, size - 7 * LAYER - LAYER // 2))
    with pytest.raises(headrace.IoError) as raised:
        run(there)
    assert raised.value.file == str(path)
    with pytest.raises(headrace.IoError):
        run(there)
    del there
    gc.collect()
    assert mapped_bytes(path) == 0


@pytest.mark.parametrize("limit, when, told", [(0, "bring", True), (0, "require_intact", True),
                                               (None, "require_intact", False)])  # here it is read again in time
def test_a_disk_that_fails_once(path, limit, when, told):
    class Failing:
        def __init__(self, tensor):
            self.tensor, self.failed = tensor, False

        def __getattr__(self, name):
            return self.fail if name == when else getattr(self.tensor, name)

        def fail(self, *given):
            self.failed = True
            raise headrace.IoError("a part of the file couldn't be read")

    there = managed(chain, path, limit=limit, dtype=torch.bfloat16)
    run(there)
    unit = there.vram_manager.units[3]
    unit._mapped[0] = failing = Failing(unit._mapped[0])
    if told:
        with pytest.raises(headrace.IoError, match="couldn't be read"):
            run(there)
    for _ in range(2):  # what was mapped when it failed isn't used again
        assert torch.equal(run(there), run(chain()))
    assert failing.failed


def test_passes_leave_nothing(path):
    """The memory after 200 passes, each with everything on disk."""
    program = f"""
import torch, headrace, headrace.torch, sys
sys.path[:0] = {[os.path.dirname(__file__)]!r}
from vram_in_place_test import chain, run, saved, managed
there = managed(chain, {str(path)!r}, limit=0, dtype=torch.bfloat16)
def rss():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
for i in range(220):
    run(there)
    if i == 19: before = rss()
print(rss() - before)
"""
    assert int(run_python(program)) << 10 <= 16 << 20


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = chain(layers=2)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(x)))


def blocks():
    return torch.nn.Sequential(*(Block() for _ in range(64)))


def test_the_first_pass_breaks_up_no_memory(tmp_path):
    """What results leave behind fits the next ones, as nothing that stays was put into it."""
    path = saved(blocks(), tmp_path)
    program = f"""
import torch, sys
sys.path[:0] = {[os.path.dirname(__file__)]!r}
from vram_in_place_test import blocks, run, managed
there = managed(blocks, {str(path)!r}, limit=0, dtype=torch.bfloat16)
x = torch.ones(1024, 512, dtype=torch.bfloat16)
def rss():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))
with torch.no_grad():
    torch.relu(torch.nn.functional.linear(x, torch.ones(512, 512, dtype=torch.bfloat16))) + x
before = rss()
run(there, x)
print((rss() - before) * 1024 // x.nbytes)
"""
    assert int(run_python(program)) <= 16  # results


def test_the_disk_maps_own(path):
    disk = headrace.DiskMap(path)
    there = disk.in_place("0.weight", torch.bfloat16)
    tensor = there.bring()
    assert torch.equal(tensor, chain()[0].weight) and mapped_bytes(path) >= LAYER
    there.let_go()
    assert mapped_bytes(path) < LAYER
    assert there.bring() is tensor
    there.require_intact()
    assert torch.equal(tensor, disk["0.weight"])
    assert disk.in_place("0.weight", torch.float32) is None
    with pytest.raises(KeyError):
        disk.in_place("none", torch.bfloat16)
    del disk, there
    gc.collect()
    assert torch.equal(tensor, chain()[0].weight)


def test_what_the_cache_has_lost_is_read_past_it(path):
    disk = headrace.DiskMap(path)
    there = managed(chain, path, disk_map=disk, limit=0, dtype=torch.bfloat16)
    for _ in range(2):
        run(there)
    given = disk.statistics.bytes_given
    for i in range(1, 5):
        drop(path)
        assert torch.equal(run(there), run(chain()))
        assert cached_bytes(path) < LAYER and mapped_bytes(path) == 0
        assert disk.statistics.bytes_given == given + i * LAYERS * LAYER
    for i in range(40):  # it is tried again, and stays there now
        given = disk.statistics.bytes_given
        assert torch.equal(run(there), run(chain()))
    assert cached_bytes(path) >= LAYERS * LAYER and disk.statistics.bytes_given == given


def test_a_copy_that_somebody_keeps_is_never_written_over(path):
    there = managed(chain, path, limit=0, dtype=torch.bfloat16)
    kept = []
    there[2].module.register_forward_hook(lambda module, given, result: kept.append(module.weight))
    for i in range(6):
        if i > 1:
            drop(path)
        run(there)
    assert len({weight.data_ptr() for weight in kept[2:]}) == 4
    assert all(torch.equal(weight, chain()[2].weight) for weight in kept)


def test_what_is_kept_is_read_once(path):
    disk = headrace.DiskMap(path)
    there = managed(chain, path, disk_map=disk, limit=4 * LAYER / GIB, dtype=torch.bfloat16)
    for _ in range(2):
        run(there)
    for unit in there.vram_manager.units:
        there.vram_manager.want(unit, 0)  # so that all of them are read past the cache
    drop(path)
    run(there)
    stay = [unit for unit in there.vram_manager.units if there.vram_manager._room.stays(unit)]
    assert 0 < len(stay) < LAYERS
    given, before = disk.statistics.bytes_given, [unit.prepared[0].data_ptr() for unit in stay]
    drop(path)
    assert torch.equal(run(there), run(chain()))
    assert given < disk.statistics.bytes_given <= given + (LAYERS - len(stay)) * LAYER
    assert [unit.prepared[0].data_ptr() for unit in stay] == before


def test_pages_that_the_system_gives_up_are_read_again_at_once(path):
    disk = headrace.DiskMap(path)
    there = managed(chain, path, disk_map=disk, limit=LAYERS * LAYER / GIB, dtype=torch.bfloat16)
    run(there)
    for unit in there.vram_manager.units:
        unit._mapped[0]._pages.let_go()  # as when memory is short
    drop(path)
    given = disk.statistics.bytes_given
    for _ in range(3):
        assert torch.equal(run(there), run(chain()))
        drop(path)  # not of their file any more
    assert disk.statistics.bytes_given == given + LAYERS * LAYER and mapped_bytes(path) == 0


def test_without_a_limit_the_system_may_take_the_pages_back(path):
    disk = headrace.DiskMap(path)
    there = managed(chain, path, disk_map=disk, dtype=torch.bfloat16)
    run(there)
    given = disk.statistics.bytes_given
    for _ in range(3):
        for unit in there.vram_manager.units:
            unit._mapped[0]._pages.let_go()
        drop(path)
        assert torch.equal(run(there), run(chain()))
    assert disk.statistics.bytes_given == given and mapped_bytes(path) >= LAYERS * LAYER


def test_a_file_that_shrank_when_it_is_read_past_the_cache(path):
    there = managed(chain, path, limit=0, dtype=torch.bfloat16)
    run(there)
    drop(path)
    run(there)
    drop(path)
    os.truncate(path, os.path.getsize(path) - LAYER)
    for _ in range(2):
        with pytest.raises(headrace.IoError) as raised:
            run(there)
    assert raised.value.file == str(path) and raised.value.tensor
