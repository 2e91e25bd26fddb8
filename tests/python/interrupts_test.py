"""Ctrl-C ends every kind of work with KeyboardInterrupt, leaves nothing behind, and headrace can be used again."""

import os
import signal
import subprocess
import sys
import time

import pytest
from converting import small_model, weights

# Says "ready", does the work, and after the interrupt converts something small.
PROGRAM = """
import sys, headrace
folder = sys.argv[1]
{before}
print("ready", flush=True)
try:
    {work}
except KeyboardInterrupt:
    headrace.convert(folder + "/model.safetensors", folder + "/after.gguf")
    print("interrupted", flush=True)
else:
    print("went through", flush=True)
"""

# A server that accepts and never answers.
SERVER = """
import socket
server = socket.create_server(("127.0.0.1", 0))
url = "http://127.0.0.1:%d/model.safetensors" % server.getsockname()[1]
"""


@pytest.fixture
def folder(tmp_path):
    small_model(tmp_path)
    tensors = {f"blocks.{i}.weight": ("F32", (16384, 16384)) for i in range(16)}
    weights.write_sparse_safetensors(tmp_path / "endless.safetensors", tensors)
    header = (tmp_path / "endless.safetensors").open("rb").read(4096)
    (tmp_path / "other.safetensors").write_bytes(header)
    os.truncate(tmp_path / "other.safetensors", (tmp_path / "endless.safetensors").stat().st_size)
    (tmp_path / "out").mkdir()
    return tmp_path


def interrupt(folder, work, before="", feed=b""):
    """Runs the program, interrupts it; `feed`: bytes for its standard input, which stays open. Seconds that the end
    took."""
    program = PROGRAM.format(before=before, work=work)
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    try:
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(feed)
        process.stdin.flush()
        time.sleep(0.4)
        assert process.poll() is None
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)  # communicate() would close its input
        seconds = time.monotonic() - began
    finally:
        process.kill()
        stdout, stderr = process.communicate()
    assert (stdout, process.returncode) == (b"interrupted\n", 0), stderr.decode()
    assert os.listdir(folder / "out") == [] and (folder / "after.gguf").exists()
    return seconds


@pytest.mark.parametrize(
    "work",
    [
        "headrace.convert(folder + '/endless.safetensors', folder + '/out/m.gguf', type='q4_K')",
        "headrace.measure("
        "headrace.plan(folder + '/endless.safetensors', folder + '/out/m.gguf', rules='w=rmse:0.01'))",
        "headrace.convert(folder + '/endless.safetensors', folder + '/out/m.gguf', rules='w=rmse:0.01')",
        "headrace.convert(folder + '/endless.safetensors', folder + '/out/m.gguf', type='q8_0', progress=lambda p: None)",
        "headrace.verify(folder + '/endless.safetensors', folder + '/other.safetensors')",
    ],
    ids=["convert", "measure", "rmse", "progress", "verify"],
)
def test_work_ends(folder, work):
    assert interrupt(folder, work) < 3


@pytest.mark.parametrize("what", ["plan", "convert"])
def test_a_server_that_never_answers(folder, what):
    assert interrupt(folder, f"headrace.{what}(url, folder + '/out/m.gguf')", SERVER) < 3


def test_verify_of_a_server_that_never_answers(folder):
    assert interrupt(folder, "headrace.verify(folder + '/model.safetensors', url)", SERVER) < 3


def test_a_pipe_that_stops_in_its_header(folder):
    assert interrupt(folder, "headrace.plan('-', folder + '/out/m.gguf')", feed=b"\x10\0\0\0") < 3


def test_a_pipe_that_stops_in_its_data(folder):
    content = (folder / "model.safetensors").read_bytes()
    work = "headrace.convert('-', folder + '/out/m.gguf')"
    assert interrupt(folder, work, feed=content[:-2000]) < 3


def test_a_plan_may_be_carried_out_after_an_interrupt(folder):
    before = """
plan = headrace.plan(folder + "/model.safetensors", folder + "/out/m.gguf", type="q8_0")
def stop(progress):
    raise KeyboardInterrupt
try:
    headrace.convert(plan, progress=stop)
except KeyboardInterrupt:
    pass
headrace.convert(plan)
import os
os.unlink(plan.output)
"""
    work = "headrace.convert(folder + '/endless.safetensors', folder + '/out/m.gguf')"
    assert interrupt(folder, work, before) < 3
