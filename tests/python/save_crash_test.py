"""Whole or absent: saves that are killed, interrupted, or flushed while the program goes on."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest
import safetensors.numpy

FAULTS = os.environ.get("HEADRACE_FAULTS")

SAVER = """
import itertools, sys
import numpy as np
import headrace
print("ready", flush=True)
for version in itertools.count():
    meta = [(f"t{i}", "I32", (50000,)) for i in range(4)]
    tensors = ((name, np.full(50000, version, np.int32)) for name, *_ in meta)
    headrace.SAVE
"""
WAYS = {
    "streaming": SAVER.replace("SAVE", "save_safetensors_streaming(tensors, sys.argv[1], meta)"),
    "background": SAVER.replace("SAVE", "save_safetensors_streaming(tensors, sys.argv[1], meta, asynchronous=True)"),
    "at once": SAVER.replace("SAVE", "save_file(dict(tensors), sys.argv[1])"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path, way):
    path = tmp_path / "m.safetensors"
    versions = set()
    for attempt in range(12):
        with subprocess.Popen([sys.executable, "-c", WAYS[way], path], stdout=subprocess.PIPE) as saver:
            saver.stdout.readline()
            time.sleep(random.Random(attempt).uniform(0.005, 0.15))
            saver.kill()
        if path.exists():
            read = safetensors.numpy.load_file(path)
            values = {int(value) for tensor in read.values() for value in (tensor.min(), tensor.max())}
            assert len(read) == 4 and len(values) == 1
            versions |= values
        left = {file.name for file in tmp_path.iterdir()} - {path.name}
        assert all(name.endswith(".tmp") for name in left)
    assert versions, "no save was ever complete: the test has tested nothing"


def test_ctrl_c_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.safetensors"
    with subprocess.Popen([sys.executable, "-c", WAYS["streaming"], path], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as saver:
        saver.stdout.readline()
        while not path.exists() and saver.poll() is None:
            time.sleep(0.01)
        time.sleep(0.1)
        saver.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in saver.communicate(timeout=60)[1]
    assert len(safetensors.numpy.load_file(path)) == 4
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not FAULTS, reason="HEADRACE_FAULTS isn't set")
def test_the_program_goes_on_while_the_disk_is_busy(tmp_path):
    script = """
import os, sys, time
import numpy as np
import headrace
folder = sys.argv[1]
path = folder + "/m.safetensors"
future = headrace.save_safetensors_streaming([("a", np.zeros(5))], path, [("a", "F64", (5,))], asynchronous=True)
while not os.path.exists(sys.argv[2]) or "stalled" not in open(sys.argv[2]).read():
    time.sleep(0.01)
assert not future.done() and not os.path.exists(path)
open(sys.argv[3], "w").close()
assert future.result(timeout=60) == path and os.path.exists(path)
print("gone on")
"""
    folder, log, resume = tmp_path / "disk", tmp_path / "log", tmp_path / "resume"
    folder.mkdir()
    environment = {**os.environ, "LD_PRELOAD": FAULTS, "FAULT_DIR": str(folder), "FAULT_LOG": str(log),
                   "FAULT_STALL": "fsync:before", "FAULT_RESUME": str(resume)}
    done = subprocess.run([sys.executable, "-c", script, folder, log, resume], env=environment, capture_output=True,
                          text=True, timeout=100)
    assert done.stdout == "gone on\n", done.stderr


@pytest.mark.skipif(not FAULTS, reason="HEADRACE_FAULTS isn't set")
def test_a_flush_that_failed_isnt_tried_again(tmp_path):
    script = """
import os, sys
import headrace
writer = headrace.Writer(sys.argv[1], [("a", "U8", (1,))])
writer.write("a", b"1")
for _ in range(2):
    try:
        writer.commit()
    except headrace.IoError as error:
        print(error.problem[:9], error.errno)
"""
    environment = {**os.environ, "LD_PRELOAD": FAULTS, "FAULT_DIR": str(tmp_path), "FAULT_FSYNC": "5"}
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "m.safetensors"], env=environment,
                          capture_output=True, text=True, timeout=100)
    assert done.stdout.splitlines() == ["can't flu 5", "an earlie None"], done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_thread_may_outlive_the_program(tmp_path):
    script = """
import sys, threading, time
import numpy as np
import headrace
headrace.save_file({"a": np.zeros(1 << 20)}, sys.argv[1])
checkpoint = headrace.open(sys.argv[1])
def forever():
    while True:
        checkpoint["a"].numpy()
threading.Thread(target=forever, daemon=True).start()
time.sleep(0.2)
"""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", script, tmp_path / "m.safetensors"], capture_output=True, text=True,
                              timeout=100)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not FAULTS, reason="HEADRACE_FAULTS isn't set")
@pytest.mark.parametrize("fault, code", [("FAULT_FSYNC", "io"), ("FAULT_WRITE_EIO_AT", "io"),
                                         ("FAULT_WRITE_ENOSPC_AT", "no_space"), ("FAULT_RENAME", "io")])
def test_a_failing_disk_leaves_the_old_file(tmp_path, fault, code):
    script = """
import sys
import numpy as np
import headrace
try:
    headrace.save_safetensors_streaming([("a", np.zeros(5000))], sys.argv[1], [("a", "F64", (5000,))])
except headrace.Error as error:
    print(error.code, error.file, error.tensor)
"""
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")
    value = "20000" if fault.endswith("_AT") else "5"
    environment = {**os.environ, "LD_PRELOAD": FAULTS, "FAULT_DIR": str(tmp_path), fault: value}
    done = subprocess.run([sys.executable, "-c", script, path], env=environment, capture_output=True, text=True,
                          timeout=100)
    tensor = "a" if fault.startswith("FAULT_WRITE") else None
    assert done.stdout == f"{code} {path} {tensor}\n", done.stderr
    assert path.read_bytes() == b"old"
    assert [file.name for file in pathlib.Path(tmp_path).iterdir()] == [path.name]


@pytest.mark.skipif(not FAULTS, reason="HEADRACE_FAULTS isn't set")
def test_a_write_that_failed_cant_be_committed(tmp_path):
    script = """
import sys
import numpy as np
import headrace
writer = headrace.Writer(sys.argv[1], [("a", "F64", (5000,)), ("b", "U8", (1,))])
for call in (lambda: writer.write("a", np.zeros(5000)), lambda: writer.write("b", b"1"), writer.commit):
    try:
        call()
    except headrace.Error as error:
        print(error.code, error.problem[:22])
"""
    environment = {**os.environ, "LD_PRELOAD": FAULTS, "FAULT_DIR": str(tmp_path), "FAULT_WRITE_EIO_AT": "20000"}
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "m.safetensors"], env=environment,
                          capture_output=True, text=True, timeout=100)
    assert done.stdout.splitlines()[1:] == ["io an earlier write or co"] * 2, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_fills_up_is_an_error_and_no_signal(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"can't mount a file system of its own: {mounted.stderr.strip()}")
    script = """
import sys
import numpy as np
import headrace
writer = headrace.Writer(sys.argv[1] + "/m.safetensors", [("a", "F64", (20_000_000,))])
with open(sys.argv[1] + "/other", "wb") as other:
    other.write(bytes(120_000_000))
try:
    writer.write("a", np.ones(20_000_000))
except headrace.NoSpaceError as error:
    print(error.tensor)
"""
    try:
        done = subprocess.run([sys.executable, "-c", script, disk], capture_output=True, text=True, timeout=100)
        assert (done.returncode, done.stdout) == (0, "a\n"), done.stderr
        assert os.listdir(disk) == ["other"]
    finally:
        subprocess.run(["umount", disk], check=True)
