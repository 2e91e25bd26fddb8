"""headrace.stream: tensors as they arrive, streams that are dropped, and Ctrl-C."""

import gc
import os
import threading
import time

import pytest
import torch
from interrupts_test import SERVER, folder, interrupt  # noqa: F401  (folder is a fixture)
from reading import RangeServer, as_bytes, random_bytes, write_safetensors

import headrace


@pytest.fixture
def model(tmp_path):
    tensors = {f"layer.{i}": ("F32", [64, 64], random_bytes("F32", 4096, i)) for i in range(20)}
    return write_safetensors(tmp_path / "model.safetensors", tensors)


def threads():
    return len(os.listdir("/proc/self/task"))


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not true within {seconds} s"
        time.sleep(0.01)


def test_every_tensor_comes_once(model):
    with headrace.stream(model) as stream:
        assert len(stream) == 20 and stream.metadata == {}
        arrived = dict(stream)
        assert len(arrived) == 20 and next(stream, None) is None
        assert stream.progress.bytes_done == stream.progress.bytes_total == stream.report.host_bytes == 20 * 16384
    for i in range(20):
        assert as_bytes(arrived[f"layer.{i}"]) == random_bytes("F32", 4096, i)
    assert len(stream) == 20 and stream.report.tensors == 20
    with pytest.raises(headrace.InvalidArgumentError, match="closed"):
        next(stream)


@pytest.mark.parametrize("how", ["closed", "left", "forgotten"])
def test_a_stream_that_is_given_up(model, how):
    before = threads()
    with RangeServer(model, delay=0.05) as server:
        stream = headrace.stream(server.url, memory="8MiB")
        name, tensor = next(stream)
        if how == "closed":
            stream.close()
            stream.close()
        elif how == "left":
            with pytest.raises(LookupError), stream:
                raise LookupError
        del stream
        gc.collect()
    assert as_bytes(tensor) == random_bytes("F32", 4096, int(name.split(".")[1]))
    wait_for(lambda: threads() <= before)  # the server's own, one for each connection, are on their way out


def test_another_thread_ends_the_wait(model):
    with RangeServer(model, delay=0.5) as server:
        stream = headrace.stream(server.url)
        threading.Timer(0.2, stream.close).start()
        with pytest.raises(headrace.CancelledError):
            list(stream)


def test_threads_share_a_stream(model):
    stream, taken = headrace.stream(model, threads=2), []
    takers = [threading.Thread(target=lambda: taken.extend(stream)) for _ in range(4)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert sorted(name for name, _ in taken) == sorted(f"layer.{i}" for i in range(20))


def test_progress_and_what_it_raises(model):
    seen = []
    with headrace.stream(model, progress=seen.append) as stream:
        list(stream)
    assert seen[-1].tensors_done == 20

    def fail(progress):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        list(headrace.stream(model, progress=fail))


def test_the_report_is_asked_for_meanwhile(tmp_path):
    tensors = {f"layer.{i}": ("F32", [16], bytes(64)) for i in range(20_000)}
    stream = headrace.stream(write_safetensors(tmp_path / "m.safetensors", tensors), framework="numpy")
    taker = threading.Thread(target=lambda: [None for _ in stream], daemon=True)
    taker.start()
    end = time.monotonic() + 60
    while taker.is_alive():
        report = stream.report
        assert time.monotonic() < end
        assert report.host_bytes == 64 * report.tensors
    assert stream.report.tensors == 20_000


def within(seconds, work):
    """Does it on a thread, for it may hang."""
    ended = []

    def run():
        try:
            ended.append(work())
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert ended == [None]


@pytest.mark.parametrize("source", ["file", "server"])
def test_closed_by_its_own_progress(model, source):
    seen = []

    def close(progress):
        seen.append(stream.report.tensors)
        stream.close()
        stream.close()

    def take():
        with stream:
            try:
                list(stream)
            except headrace.CancelledError as error:
                seen.append(error)
            with pytest.raises(headrace.InvalidArgumentError, match="closed"):
                next(stream)

    with RangeServer(model, delay=0.3) as server:
        stream = headrace.stream(server.url if source == "server" else model, progress=close)
        within(60, take)
    assert len(seen) == 2 and isinstance(seen[1], headrace.CancelledError)
    assert stream.report.tensors <= len(stream) == 20


def test_closed_by_what_it_reads_from(model):
    closed, opened = [], threading.Event()

    class Source:
        def __init__(self):
            self.file = open(model, "rb")

        def read(self, n):
            if self.file.tell() > 1 << 17 and not closed and opened.wait(30):
                stream.close()
                closed.append(True)
            return self.file.read(min(n, 1 << 14))

    def take():
        with pytest.raises(headrace.CancelledError):
            list(stream)
        with pytest.raises(headrace.InvalidArgumentError, match="closed"):
            next(stream)

    stream = headrace.stream("x/m.safetensors", fetch=lambda location: Source())
    opened.set()
    within(60, take)
    assert closed == [True] and stream.report.tensors < len(stream) == 20


def test_what_it_reads_from_drops_another(model):
    """Whose workers wait for it meanwhile, and may want the interpreter."""
    class Source:
        def __init__(self, others):
            self.file, self.others = open(model, "rb"), others

        def read(self, n):
            if self.file.tell() > 1 << 17 and self.others:
                self.others.pop()
                gc.collect()
            return self.file.read(min(n, 1 << 14))

    def take():
        others = [headrace.stream("x/m.safetensors", fetch=lambda location: Source([])) for _ in range(3)]
        for other in others:
            next(other)
        del other
        assert len(list(headrace.stream("x/m.safetensors", fetch=lambda location: Source(others)))) == 20
        assert others == []

    within(60, take)


def test_its_own_progress_takes_nothing(model):
    refused = []

    def take(progress):
        try:
            next(stream)
        except headrace.InvalidArgumentError as error:
            refused.append(str(error))

    stream, taken = headrace.stream(model, progress=take), []
    within(60, lambda: taken.extend(stream))
    assert len(taken) == 20 and refused and "progress callback" in refused[0]


def test_a_truncated_source(model):
    with open(model, "r+b") as file:
        file.truncate(model.stat().st_size - 5)
    with pytest.raises(headrace.FormatError):
        headrace.stream(model)


def test_rules_look_at_the_data_first(model, tmp_path):
    headrace.save_file({"w": torch.linspace(-1, 1, 64 * 64).view(64, 64)}, tmp_path / "w.safetensors")
    seen = []
    weights = headrace.load(tmp_path / "w.safetensors", rules="w=rmse:0.01", framework="dlpack",
                            progress=seen.append)
    assert weights["w"].nbytes < 64 * 64 * 4 and max(one.bytes_done for one in seen) == 64 * 64 * 4


def test_a_wait_for_a_server_is_interrupted(folder):  # noqa: F811
    assert interrupt(folder, "headrace.load(url, framework='dlpack')", SERVER) < 3


def test_loading_is_interrupted(folder):  # noqa: F811
    content = (folder / "model.safetensors").read_bytes()
    work = "list(headrace.stream('-', framework='dlpack'))"
    assert interrupt(folder, work, feed=content[:-2000]) < 3
