"""Progress: callables, bars, exceptions."""

import threading
import time

import headrace
import pytest
from converting import small_model, weights


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return small_model(tmp_path)


class Bar:
    """As tqdm's bars are driven."""

    def __init__(self):
        self.total, self.n, self.closed, self.steps = None, 0, False, []

    def update(self, n):
        assert n > 0
        self.n += n
        self.steps.append((self.n, self.total))

    def close(self):
        self.closed = True


def test_a_callable_sees_the_end(model):
    seen = []
    headrace.convert(model, "out.gguf", progress=seen.append)
    last = seen[-1]
    assert last.bytes_done == last.bytes_total == 8192 * 2 + 240 + 1024 + 40
    assert last.tensors_done == last.tensors_total == 5
    assert any(one.flushing for one in seen) and not last.flushing


def test_a_bar_is_driven_and_left_open(model):
    bar = Bar()
    report = headrace.convert(model, "out.gguf", progress=bar)
    assert bar.n == bar.total == report.bytes_read and not bar.closed


def test_a_bar_of_several_jobs_goes_on(model):
    bar = Bar()
    first = headrace.convert(model, "a.gguf", progress=bar)
    headrace.convert(model, "b.gguf", progress=bar)
    assert bar.n == bar.total == 2 * first.bytes_read


def test_a_bar_sees_measuring_too(model):
    bar = Bar()
    report = headrace.convert(model, "a.gguf", rules="blocks=rmse:0.02", progress=bar)
    assert bar.n == bar.total > report.bytes_read
    assert all(n <= total for n, total in bar.steps)


def test_the_real_tqdm(model):
    tqdm = pytest.importorskip("tqdm")
    with tqdm.tqdm(unit="B", unit_scale=True, disable=False, file=open("log", "w")) as bar:
        report = headrace.convert(model, "a.gguf", progress=bar)
        assert bar.n == bar.total == report.bytes_read


def test_what_is_no_progress(model):
    with pytest.raises(headrace.InvalidArgumentError, match="progress: found int"):
        headrace.convert(model, "a.gguf", progress=3)


def test_its_exceptions_reach_the_caller(tmp_path):
    class Enough(Exception):
        pass

    def stop(progress):
        raise Enough("of it")

    large = weights.write_sparse_safetensors(tmp_path / "large.safetensors", {
        f"blocks.{i}.weight": ("F32", (16384, 16384)) for i in range(8)})  # fmt: skip
    (tmp_path / "out").mkdir()
    began = time.monotonic()
    with pytest.raises(Enough, match="of it"):
        headrace.convert(large, tmp_path / "out/m.gguf", type="q4_K", progress=stop)
    with pytest.raises(Enough, match="of it"):
        headrace.measure(headrace.plan(large, tmp_path / "out/m.gguf", rules="weight=rmse:0.01"),
                         progress=stop)  # fmt: skip
    assert time.monotonic() - began < 5
    assert list((tmp_path / "out").iterdir()) == []


def test_other_threads_go_on_and_may_cancel(tmp_path):
    large = weights.write_sparse_safetensors(tmp_path / "large.safetensors", {
        f"blocks.{i}.weight": ("F32", (16384, 16384)) for i in range(8)})  # fmt: skip
    token, counted = headrace.CancelToken(), []

    def count():
        for i in range(20):
            time.sleep(0.02)
            counted.append(i)
        token.cancel()

    thread = threading.Thread(target=count)
    thread.start()
    with pytest.raises(headrace.CancelledError) as caught:
        headrace.convert(large, tmp_path / "m.gguf", type="q4_K", cancel=token)
    assert caught.value.code == "cancelled" and len(counted) == 20 and token.cancelled
    thread.join()
    assert not (tmp_path / "m.gguf").exists()
    with pytest.raises(headrace.CancelledError):  # a plan is opened under the same token
        headrace.plan(large, tmp_path / "m.gguf", cancel=token)


def test_conversions_on_several_threads(model):
    def convert(i):
        done.append(headrace.convert(model, f"{i}.gguf", type="q8_0").bytes_written)

    done = []
    threads = [threading.Thread(target=convert, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 4 and len(set(done)) == 1
