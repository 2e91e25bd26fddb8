"""Reading from many threads, large reads, and Ctrl-C."""

import signal
import threading
import time

import headrace
import numpy as np
import pytest
import safetensors.numpy
from reading import RangeServer, run_python, write_safetensors


def test_eight_threads_share_a_checkpoint(tmp_path):
    arrays = {f"t{i}": np.random.default_rng(i).standard_normal((60, 1000)) for i in range(20)}
    safetensors.numpy.save_file(arrays, tmp_path / "m")
    checkpoint = headrace.open(tmp_path / "m")
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(60):
            name = f"t{rng.integers(20)}"
            first, step = int(rng.integers(50)), int(rng.integers(1, 5))
            if not np.array_equal(checkpoint[name][first::step, ::step], arrays[name][first::step, ::step]):
                wrong.append(name)
            if not np.array_equal(checkpoint[name].numpy(dtype="F32"), arrays[name].astype(np.float32)):
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert wrong == []


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "m.safetensors"
    data = np.random.default_rng(1).integers(0, 2**63, 20 << 20, np.int64)
    return write_safetensors(path, {"w": ("F32", [40, 1 << 20], data.tobytes())}), data


def test_large_reads_on_several_threads(large):
    path, data = large
    assert np.array_equal(headrace.open(path)["w"].numpy().view(np.int64).reshape(-1), data)


@pytest.mark.parametrize("arguments, result", [("", 160), ("dtype='BF16'", 80), ("slice(0, 20), dtype='F64'", 160)])
def test_nothing_is_held_twice(large, arguments, result):
    program = f"""
import sys, numpy, ml_dtypes, headrace
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
tensor = headrace.open(sys.argv[1])["w"]
tensor[0, :9]
before = peak()
array = tensor.numpy({arguments})
print(peak() - before, array.nbytes / 2**20)
"""
    grown, size = map(float, run_python(program, large[0]).split())
    assert size == result and grown < result + 16


def test_other_threads_run_meanwhile(large):
    path, _ = large
    ticks, stop = [0], threading.Event()

    def tick():
        while not stop.is_set():
            ticks[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.perf_counter()
    while time.perf_counter() - start < 0.3:
        headrace.open(path)["w"].numpy()
    stop.set()
    thread.join()
    assert ticks[0] > 20


class Interrupted:
    """A context in which Ctrl-C is pressed once, after 50 ms."""

    def __enter__(self):
        def handler(*_):
            raise KeyboardInterrupt

        self.before = signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)


def test_ctrl_c_ends_a_large_read(large):
    path, data = large
    tensor = headrace.open(path)["w"]
    with pytest.raises(KeyboardInterrupt), Interrupted():
        for _ in range(200):  # one read may be over before the first signal
            tensor.numpy(dtype="BF16")
    assert np.array_equal(tensor[3].view(np.int64), data.reshape(40, -1)[3])  # a file can be read on


def test_ctrl_c_ends_a_read_of_a_slow_server(large):
    path, _ = large
    with RangeServer(path, delay=0.05) as server:
        tensor = headrace.open(server.url)["w"]
        start = time.perf_counter()
        with pytest.raises(KeyboardInterrupt), Interrupted():
            tensor.numpy()
        assert time.perf_counter() - start < 5  # the whole would take a minute
        with pytest.raises(headrace.CancelledError):
            tensor[0, :4]


def test_ctrl_c_ends_opening(large):
    with RangeServer(large[0], delay=2) as server:
        start = time.perf_counter()
        with pytest.raises(KeyboardInterrupt), Interrupted():
            headrace.open(server.url)
        assert time.perf_counter() - start < 2


def test_ctrl_c_ends_loading(large):
    with pytest.raises(KeyboardInterrupt), Interrupted():
        for _ in range(2000):
            headrace.load_file(large[0], framework="np", backend="pread")
