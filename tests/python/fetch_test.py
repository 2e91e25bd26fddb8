"""fetch=, weight_path_prefix= and weight_url_converter=: a program's own way to files."""

import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from reading import write_safetensors

import headrace

GOLDEN = pathlib.Path(__file__).parent.parent / "data" / "golden" / "tfjs"
MODELS = ["face_expression", "face_landmark_68_tiny", "tiny_face_detector"]

AS = {
    "bytes": lambda data: data,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "a file": io.BytesIO,
    "a pipe": lambda data: io.BufferedReader(io.BytesIO(data)),
    "an iterator": lambda data: (data[at : at + 1000] for at in range(0, len(data), 1000)),
    "a list": lambda data: [data[:5], b"", data[5:]],
}


@pytest.fixture
def model(tmp_path):
    data = np.arange(200_000, dtype=np.float32)
    return write_safetensors(
        tmp_path / "model.safetensors", {"a": ("F32", [200, 1000], data.tobytes()), "b": ("F32", [3], bytes(12))}
    )


@pytest.mark.parametrize("kind", AS)
def test_whatever_it_returns_is_read(model, tmp_path, kind):
    data, asked = model.read_bytes(), []
    headrace.convert(model, tmp_path / "disk.safetensors")
    expected = (tmp_path / "disk.safetensors").read_bytes()

    def fetch(location):
        asked.append(location)
        return AS[kind](data)

    headrace.convert("s3://bucket/m.safetensors?key=secret", tmp_path / "copy.safetensors", fetch=fetch, threads=3)
    assert (tmp_path / "copy.safetensors").read_bytes() == expected
    assert asked == ["s3://bucket/m.safetensors?key=secret"]
    with headrace.open("x", fetch=fetch) as checkpoint:
        assert checkpoint["a"].numpy().tolist() == np.arange(200_000).reshape(200, 1000).tolist()
        assert checkpoint["b"].numpy().tolist() == [0, 0, 0]
    plan = headrace.plan("x", tmp_path / "planned.safetensors", fetch=fetch)
    headrace.convert(plan)
    assert (tmp_path / "planned.safetensors").read_bytes() == expected


def test_verify_takes_bytes(model):
    data = model.read_bytes()
    assert headrace.verify("x", "y", fetch=lambda location: data).same()
    with pytest.raises(headrace.UnsupportedError, match="wanted more than once"):
        headrace.verify("x", "y", fetch=lambda location: io.BytesIO(data))


@pytest.mark.parametrize("kind", ["bytes", "a file", "an iterator"])
@pytest.mark.parametrize("name", MODELS)
def test_models_of_tensorflow_js(tmp_path, name, kind):
    folder = GOLDEN / name
    manifest = next(path for path in folder.glob("*.json") if path.name != "expected.json")
    headrace.convert(manifest, tmp_path / "disk.safetensors")
    asked = []

    def fetch(location):
        asked.append(location)
        return AS[kind]((folder / location.removeprefix("https://me:secret@host/m/")).read_bytes())

    headrace.convert(f"https://me:secret@host/m/{manifest.name}", tmp_path / "fetched.safetensors", fetch=fetch)
    assert (tmp_path / "fetched.safetensors").read_bytes() == (tmp_path / "disk.safetensors").read_bytes()
    assert len(asked) == len(set(asked)) == 2


@pytest.fixture
def split_model(tmp_path):
    """model.json, and its weights in another folder."""
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "one.bin").write_bytes(bytes(range(8)))
    weights = [{"name": "w", "shape": [2, 4], "dtype": "bool"}]
    (tmp_path / "model.json").write_text(json.dumps([{"paths": ["one.bin"], "weights": weights}]))
    return tmp_path


@pytest.mark.parametrize("as_path", [str, pathlib.Path])
def test_weights_elsewhere(split_model, as_path):
    manifest, far = split_model / "model.json", as_path(split_model / "far")
    asked = []

    def converter(name):
        asked.append(name)
        return as_path(split_model / "far" / name)

    for options in ({"weight_path_prefix": far}, {"weight_url_converter": converter}):
        with headrace.open(manifest, **options) as checkpoint:
            assert checkpoint["w"].raw().tobytes() == bytes(range(8))
        headrace.convert(manifest, split_model / "out.safetensors", force=True, **options)
    assert asked == ["one.bin", "one.bin"]
    with pytest.raises(headrace.InvalidArgumentError, match="TensorFlow.js models alone"):
        headrace.open(split_model / "out.safetensors", weight_path_prefix=far)


class Trouble(Exception):
    pass


@pytest.mark.parametrize("call", ["open", "plan", "convert", "verify"])
def test_its_exceptions_reach_the_caller(tmp_path, call):
    def fetch(location):
        raise Trouble(location)

    work = {
        "open": lambda: headrace.open("x", fetch=fetch),
        "plan": lambda: headrace.plan("x", tmp_path / "o.safetensors", fetch=fetch),
        "convert": lambda: headrace.convert("x", tmp_path / "o.safetensors", fetch=fetch),
        "verify": lambda: headrace.verify("x", "y", fetch=fetch),
    }[call]
    with pytest.raises(Trouble, match="x"):
        work()


@pytest.mark.parametrize("raised", [Trouble, KeyboardInterrupt, SystemExit, MemoryError])
def test_exceptions_of_a_read_in_the_midst_of_the_work(model, tmp_path, raised):
    data = model.read_bytes()

    def pieces():
        yield data[:400_000]
        raise raised("midst")

    for _ in range(5):
        with pytest.raises(raised, match="midst"):
            headrace.convert("x", tmp_path / "out.safetensors", fetch=lambda _: pieces(), threads=4, type="f16")
    with headrace.open("x", fetch=lambda _: pieces()) as checkpoint, pytest.raises(raised, match="midst"):
        checkpoint["a"].numpy()
    assert list(tmp_path.iterdir()) == [model]


def test_exceptions_of_the_converter(split_model):
    def converter(name):
        raise Trouble(name)

    with pytest.raises(Trouble, match="one.bin"):
        headrace.open(split_model / "model.json", weight_url_converter=converter)
    with pytest.raises(headrace.InvalidArgumentError, match="weight_url_converter: found int 3"):
        headrace.open(split_model / "model.json", weight_url_converter=lambda name: 3)


class Generous:
    def read(self, n):
        return bytes(n + 1)


class Textual:
    def read(self, n):
        return "text"


@pytest.mark.parametrize(
    "returned, words",
    [
        (None, "fetch returned what can't be read"),
        ("a path", "fetch returned what can't be read"),
        (Generous(), "gives more than it was asked for"),
        (Textual(), "gave no bytes"),
        (["text"], "gave no bytes"),
        (b"", "the file is empty"),
    ],
)
def test_what_makes_no_sense_is_refused(returned, words):
    with pytest.raises(headrace.Error, match=words) as caught:
        headrace.open("s3://b/x?key=secret", fetch=lambda _: returned)
    assert caught.value.file == "s3://b/x" and "secret" not in str(caught.value)


def test_options_of_another_kind_are_refused():
    for options in ({"fetch": 3}, {"weight_path_prefix": 3}, {"weight_url_converter": "x"}):
        with pytest.raises(headrace.InvalidArgumentError, match=next(iter(options))):
            headrace.open("x", **options)


def test_a_stream_that_ends_too_soon(model, tmp_path):
    data = model.read_bytes()
    with pytest.raises(headrace.IoError, match="ends too soon") as caught:
        headrace.convert("x", tmp_path / "out.safetensors", fetch=lambda _: io.BytesIO(data[:500_000]))
    assert caught.value.file == "x" and caught.value.offset == 500_000
    assert list(tmp_path.iterdir()) == [model]


def test_no_read_begins_after_a_cancel(model, tmp_path):
    data, cancel, reads = model.read_bytes(), headrace.CancelToken(), []

    class Slow(io.BytesIO):
        def read(self, n):
            reads.append(cancel.cancelled)
            time.sleep(0.02)
            return super().read(min(n, 4096))

    timer = threading.Timer(0.3, cancel.cancel)
    timer.start()
    with pytest.raises(headrace.CancelledError):
        headrace.convert("x", tmp_path / "out.safetensors", fetch=lambda _: Slow(data), cancel=cancel)
    timer.join()
    assert reads and not any(reads)
    assert list(tmp_path.iterdir()) == [model]


# Reads without an end; an interrupt ends the work once the read that has begun is done.
PROGRAM = """
import sys, time, headrace
class Endless:
    def __init__(self):
        self.head = open(sys.argv[1], "rb").read(300)
    def read(self, n):
        if self.head:
            given, self.head = self.head[:n], self.head[n:]
            return given
        time.sleep(0.05)
        print("reading", flush=True)
        return bytes(1)
try:
    {work}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
WORKS = {
    "convert": 'headrace.convert("x", sys.argv[2], fetch=lambda _: Endless())',
    "read": 'headrace.open("x", fetch=lambda _: Endless())["a"].numpy()',
}


@pytest.mark.parametrize("work", WORKS)
def test_ctrl_c(model, tmp_path, work):
    command = [sys.executable, "-c", PROGRAM.format(work=WORKS[work]), model, tmp_path / "out.safetensors"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "reading\n"
        time.sleep(0.2)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert said.endswith("interrupted\n"), errors
    assert time.monotonic() - began < 5
    assert process.returncode == 0 and errors == ""
    assert sorted(os.listdir(tmp_path)) == ["model.safetensors"]


def test_a_checkpoint_that_outlives_the_program_does_no_harm(model):
    program = (
        "import headrace, sys\n"
        "kept = headrace.open('x', fetch=lambda _: open(sys.argv[1], 'rb').read())\n"
        "other = headrace.open('x', fetch=lambda _: open(sys.argv[1], 'rb'))\n"
        "print(kept['b'].numpy().tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", program, model], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0.0, 0.0, 0.0]\n", "")


# Reads are slow, and one is under way when the program ends, which takes a while.
ENDING = """
import headrace, sys, threading, time
pause, paused = [0.02], threading.Event()
class Slow:
    def __init__(self):
        self.file = open(sys.argv[1], "rb")
    def read(self, n):
        if pause[0] > 1:
            paused.set()
        time.sleep(pause[0])
        return self.file.read(min(n, 256 << 10))
def pieces():
    slow = Slow()
    while piece := slow.read(256 << 10):
        yield piece
class Late:
    def __del__(self, sleep=time.sleep, pause=pause):
        sleep(max(0.5, pause[0]))
threading.late = Late()  # where a stream that is left doesn't keep it
taken = threading.Event()
def take(progress=None):
    stream = headrace.stream("x", framework="numpy", fetch=lambda _: {source}, threads=3, progress=progress)
    next(stream)
    taken.set()
    return stream
"""
ENDS = {
    "left": "left = take()",
    "in the midst of a long read": "left = take()\npause[0] = 2\npaused.wait()",
    "taken by a daemon": "threading.Thread(target=lambda: list(take()), daemon=True).start()\ntaken.wait()",
    "calling back": "threading.Thread(target=lambda: list(take(lambda _: time.sleep(0.1))), daemon=True).start()\n"
    "taken.wait()",
}


@pytest.fixture
def many_reads(tmp_path):
    tensors = {f"layer.{i}": ("F32", [512, 512], bytes(1 << 20)) for i in range(16)}
    return write_safetensors(tmp_path / "model.safetensors", tensors)


@pytest.mark.parametrize("source", ["Slow()", "pieces()"])
@pytest.mark.parametrize("how", ENDS)
def test_a_stream_that_is_at_work_when_the_program_ends(many_reads, how, source):
    program = ENDING.format(source=source) + ENDS[how]
    done = subprocess.run([sys.executable, "-c", program, many_reads], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_end_that_waits_for_a_read_is_interrupted(many_reads):
    long = "left, pause[0] = take(), 1000\npaused.wait()\nprint('reads', flush=True)"
    program = ENDING.format(source="Slow()") + long
    command = [sys.executable, "-c", program, many_reads]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout.readline() == b"reads\n"
        until = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until:
            process.send_signal(signal.SIGINT)  # the first may come before the end
            time.sleep(0.1)
        assert process.poll() is not None
    finally:
        process.kill()
        process.communicate()
