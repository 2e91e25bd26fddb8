"""headrace.torch.enable_vram_management: what is in memory when, on several threads, and when something goes wrong."""

import gc
import os
import pathlib
import threading
import time
import weakref

import pytest
import torch
from offloading import GIB, Model, SlowMap, chain, managed, saved
from reading import run_python

import headrace
import headrace.torch

LAYERS, LAYER = 8, 4 * 64 * 64  # of chain()


@pytest.fixture
def layers():
    return chain(LAYERS)


@pytest.fixture
def path(layers, tmp_path):
    return saved(layers, tmp_path)


X = torch.randn(3, 64, generator=torch.Generator().manual_seed(4))


def run(model, x=X):
    with torch.no_grad():
        return model(x)


@pytest.fixture(autouse=True)
def soon_idle(monkeypatch):
    monkeypatch.setattr("headrace.vram.prefetcher._IDLE_SECONDS", 0.1)


def settled(model):
    """When the thread that reads ahead has nothing to do."""
    manager, deadline = model.vram_manager, time.monotonic() + 5
    while not manager._prefetcher.idle and time.monotonic() < deadline:
        time.sleep(0.01)
    return manager.statistics


@pytest.mark.parametrize("units", [1, 2, 3, 5, 8])
def test_the_limit_is_kept(path, layers, units):
    limit = units * LAYER
    there = managed(lambda: chain(LAYERS), path, limit=limit / GIB)
    for _ in range(5):
        assert torch.equal(run(there), run(layers))
    assert LAYER <= there.vram_manager.statistics.peak_bytes <= limit


def test_a_limit_of_nothing_keeps_nothing(path, layers):
    there = managed(lambda: chain(LAYERS), path, limit=0)
    for _ in range(3):
        assert torch.equal(run(there), run(layers))
    statistics = settled(there)
    assert statistics.resident_bytes == 0 and statistics.peak_bytes == LAYER and statistics.loads == 3 * LAYERS


def test_without_a_limit_each_is_read_once(path):
    there = managed(lambda: chain(LAYERS), path)
    for _ in range(3):
        run(there)
    statistics = there.vram_manager.statistics
    assert statistics.loads + statistics.loads_ahead == LAYERS and statistics.evictions == 0


@pytest.mark.parametrize("units", [3, 4, 6])
def test_those_go_whose_next_use_is_farthest(path, units):
    disk = SlowMap(path)
    there = managed(lambda: chain(LAYERS), path, disk_map=disk, limit=units * LAYER / GIB)
    run(there)
    for _ in range(3):
        settled(there)
        disk.asked.clear()
        run(there)
        settled(there)
        # Two places are for those in use and next; who evicted the first that came would read all eight every time.
        assert len(disk.asked) <= LAYERS - units + 2


def test_reads_happen_ahead_of_use(path, layers):
    seconds = 0.03

    def make():
        model = chain(LAYERS)
        for layer in model:
            layer.register_forward_hook(lambda *_: time.sleep(seconds))
        return model

    there = managed(make, path, disk_map=SlowMap(path, seconds), limit=3 * LAYER / GIB)
    run(there)
    statistics = there.vram_manager.statistics
    loads, stalled = statistics.loads, statistics.stall_seconds
    assert torch.equal(run(there), run(layers))
    # Reading takes as long as computing: one after the other would wait for all of it.
    assert statistics.loads_ahead >= LAYERS and statistics.loads - loads <= 2
    print(f"stalled for {statistics.stall_seconds - stalled:.3f} s")  # reported, not judged


def test_another_order_is_learnt(path, layers):
    class Turned(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = chain(LAYERS)

        def forward(self, x):
            for i in (6, 4, 2, 0, 2):
                x = self.layers[i](x)
            return x

    disk = SlowMap(path, state_dict_converter=lambda s: {f"layers.{name}": name for name in s})
    there = managed(Turned, path, disk_map=disk, limit=2 * LAYER / GIB)
    expected = run(layers[2], run(layers[0], run(layers[2], run(layers[4], run(layers[6])))))
    for _ in range(2):
        assert torch.equal(run(there), expected)
    settled(there)
    disk.asked.clear()
    assert torch.equal(run(there), expected)
    assert not {"layers.1.weight", "layers.3.weight", "layers.5.weight"} & set(disk.asked)


@pytest.mark.parametrize("limit", [0, 2 * LAYER / GIB, None])
def test_threads(path, layers, limit):
    there = managed(lambda: chain(LAYERS), path, limit=limit)
    inputs = [torch.randn(2, 64) for _ in range(4)]
    expected, wrong = [run(layers, x) for x in inputs], []

    def work(i):
        try:
            for _ in range(15):
                if not torch.equal(run(there, inputs[i]), expected[i]):
                    wrong.append(i)
        except Exception as error:  # noqa: BLE001
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == [] and not any(thread.is_alive() for thread in threads)
    if limit is not None:
        assert there.vram_manager.statistics.peak_bytes <= max(LAYER, limit * GIB)


def test_threads_in_units_within_units(tmp_path):
    torch.manual_seed(1)
    model = Model().eval()
    there = managed(Model, saved(model, tmp_path), limit=0)
    tokens, wrong = torch.arange(10).view(2, 5), []
    expected = run(model, tokens)

    def work():
        wrong.extend(1 for _ in range(8) if not torch.equal(run(there, tokens), expected))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == [] and not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("limit", [0, 3 * LAYER / GIB, None])
def test_an_error_of_reading_reaches_the_caller(path, layers, limit):
    disk = SlowMap(path)
    disk.broken.add("5.weight")
    there = managed(lambda: chain(LAYERS), path, disk_map=disk, limit=limit)
    for _ in range(2):
        with pytest.raises(headrace.IoError, match="broken at 5.weight"):
            run(there)
    disk.broken.clear()
    for _ in range(2):
        assert torch.equal(run(there), run(layers))
    manager = there.vram_manager
    settled(there)
    assert manager._running == manager._loads == 0 and not any(unit.users or unit.loading for unit in manager.units)


@pytest.mark.parametrize("limit", [0, None])
def test_a_file_that_is_cut_or_changed(path, layers, limit):
    there = managed(lambda: chain(LAYERS), path, limit=limit)
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) - 2 * LAYER)
    with pytest.raises(headrace.Error) as raised:
        run(there)
    assert isinstance(raised.value, (headrace.IoError, headrace.FormatError)) and "m.safetensors" in str(raised.value)
    other = saved(layers, pathlib.Path(path).parent, "other.safetensors")
    assert torch.equal(run(managed(lambda: chain(LAYERS), other, limit=limit)), run(layers))


def test_an_exception_in_forward(path, layers):
    there = managed(lambda: chain(LAYERS), path, limit=2 * LAYER / GIB)

    def interrupt(*_):
        raise KeyboardInterrupt

    hook = there[4].module.register_forward_hook(interrupt)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(there)
    hook.remove()
    assert torch.equal(run(there), run(layers))
    assert there[4].weight.is_meta and there.vram_manager._running == 0


def test_states_and_pipelines(path, layers):
    class Pipeline:
        pass

    def cold():
        return managed(lambda: chain(LAYERS), path, onload_device="cpu", preparing_dtype=torch.float64)

    pipeline = Pipeline()
    pipeline.first, pipeline.second, pipeline.plain = cold(), cold(), torch.nn.Linear(2, 2)
    headrace.torch.load_models_to_device(["first"], pipeline)
    assert pipeline.first[0].state == 1 and not pipeline.first[0].weight.is_meta
    assert pipeline.second[0].state == 0 and pipeline.second[0].weight.is_meta
    pipeline.first[0].preparing()
    assert pipeline.first[0].state == 2 and pipeline.first.vram_manager.statistics.resident_bytes == 2 * LAYER
    assert torch.equal(run(pipeline.first), run(layers))
    headrace.torch.load_models_to_device([pipeline.second], pipeline)
    assert pipeline.first[3].weight.is_meta and not pipeline.second[3].weight.is_meta
    assert settled(pipeline.first).resident_bytes == 0
    headrace.torch.load_models_to_device([], pipeline)
    assert pipeline.second[3].weight.is_meta
    assert torch.equal(run(pipeline.second), run(layers)) and pipeline.second[3].state >= 1  # as it was used
    with pytest.raises(headrace.InvalidArgumentError, match="'third'"):
        headrace.torch.load_models_to_device(["third"], pipeline)


def test_names_of_models_without_a_pipeline(path):
    with headrace.torch.skip_model_initialization():
        models = chain(LAYERS), chain(LAYERS)
    for model, name in zip(models, ("dit", "text")):
        headrace.torch.enable_vram_management(
            model, disk_map=headrace.DiskMap(path), name=name,
            vram_config={"offload_device": "disk", "computation_dtype": torch.float32, "computation_device": "cpu"})
    headrace.torch.load_models_to_device("text")
    assert models[0][0].weight.is_meta and not models[1][0].weight.is_meta
    headrace.torch.load_models_to_device(["dit"])
    assert not models[0][0].weight.is_meta and models[1][0].weight.is_meta


def test_a_model_that_is_let_go_of(path):
    there = managed(lambda: chain(LAYERS), path)
    run(there)
    manager = weakref.ref(there.vram_manager)
    there.vram_manager.close()
    run(there)
    del there
    gc.collect()
    assert manager() is None
    other = managed(lambda: chain(LAYERS), path, limit=3 * LAYER / GIB)
    run(other)
    settled(other)
    for thread in threading.enumerate():
        if thread.name == "headrace-vram":  # it has left, and may not have ended yet
            thread.join(5)
            assert not thread.is_alive()


def test_memory_stays_flat(tmp_path):
    program = """
import sys, torch, headrace, headrace.torch
sys.path.insert(0, sys.argv[2])
from offloading import managed, chain, GIB

def rss():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) / 1024

for limit in (0, 4 * (256 << 10) / GIB):
    model = managed(lambda: chain(12, 256), sys.argv[1], limit=limit)
    x = torch.randn(2, 256)
    with torch.no_grad():
        for _ in range(10):
            model(x)
        before = rss()
        for _ in range(200):
            model(x)
    print(rss() - before)
"""
    path = saved(chain(12, 256), tmp_path)
    growths = [float(line) for line in run_python(program, path, os.path.dirname(__file__)).split()]
    assert len(growths) == 2 and max(growths) <= 16, growths
