"""Interrupted jobs: status 130, and nothing left behind."""

import json
import os
import signal
import subprocess
import time

import pytest
import weights


@pytest.fixture
def endless(tmp_path):
    """More than any machine converts within a test: 16 GiB of zeros that take no room on the disk."""
    tensors = {f"blocks.{i}.weight": ("F32", (16384, 16384)) for i in range(16)}
    return weights.write_sparse_safetensors(tmp_path / "endless.safetensors", tensors)


def start(command, **options):
    return subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(binary, endless, output, number):
    process = start([binary, "convert", endless, "-o", output / "m.gguf", "--type", "q4_0"])
    time.sleep(0.7)
    assert process.poll() is None
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stdout == ""
    assert stderr.splitlines()[-1] == "headrace: interrupted; nothing was written"
    assert os.listdir(output) == []


def test_as_json(binary, endless, output):
    process = start([binary, "convert", endless, "-o", output / "m.gguf", "--type", "q4_0", "--json"])
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert json.loads(stdout)["error"]["code"] == "cancelled"


def test_two_signals(binary, endless, output):
    process = start([binary, "convert", endless, "-o", output / "m.gguf", "--type", "q4_0"])
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 130


def test_verify(binary, endless):
    # Two files, since one that is compared with itself may be known to be the same.
    other = endless.with_name("other.safetensors")
    with open(endless, "rb") as source:
        header = source.read(4096)
    other.write_bytes(header)
    os.truncate(other, endless.stat().st_size)
    process = start([binary, "verify", endless, other])
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "headrace: interrupted"


def test_an_ignored_signal_stays_ignored(binary, endless, output):
    """As under nohup, or in the background of a script."""
    process = start(
        [binary, "convert", endless, "-o", output / "m.gguf", "--type", "q4_0"],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.7)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert os.listdir(output) == []


def test_a_signal_without_a_job(binary, tmp_path):
    """Opening a pipe that nobody writes to waits for ever; there is no job to cancel yet."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = start([binary, "inspect", pipe])
    time.sleep(0.3)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 130
    else:  # a pipe may also be refused at once
        assert process.returncode == 1
