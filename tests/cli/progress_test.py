"""Progress: one redrawn line on a terminal, a few plain lines elsewhere."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time

import pytest
import weights


@pytest.fixture
def big(tmp_path):
    return weights.write_sparse_safetensors(tmp_path / "big.safetensors", {"w": ("F32", (16384, 4096))})


def run_on_terminal(command, columns, environment=None):
    """The exit status and everything that was drawn on a terminal of that width."""
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    drawn = bytearray()

    def read():
        while True:
            try:
                part = os.read(main, 65536)
            except OSError:  # the other side is closed
                return
            if not part:
                return
            drawn.extend(part)

    reader = threading.Thread(target=read)
    reader.start()
    process = subprocess.Popen(command, stderr=other, env=os.environ | {"TERM": "xterm"} | (environment or {}))
    os.close(other)
    status = process.wait(120)
    reader.join(10)
    os.close(main)
    return status, drawn.decode()


def split_drawing(drawn):
    """The states of the redrawn line, and the lines that stay."""
    redrawn, _, kept = drawn.rpartition("\r\x1b[K")
    return [frame.removesuffix("\x1b[K") for frame in redrawn.split("\r") if frame.strip("\r\n")], kept


@pytest.mark.parametrize("columns", [200, 80, 40, 20])
def test_a_terminal(binary, big, output, columns):
    command = [binary, "convert", str(big), "-o", str(output / "m.gguf"), "--type", "q8_0"]
    status, drawn = run_on_terminal(command, columns)
    assert status == 0
    frames, kept = split_drawing(drawn)
    frames = [frame for frame in frames if "note:" not in frame]
    assert frames
    for frame in frames:
        assert frame.startswith("converting")
        assert len(frame) < columns, frame
    assert "100 %" in frames[-1]
    if columns >= 80:
        assert re.search(r"\[#*-*\] +\d+ %  [\d.]+ \w+ of [\d.]+ \w+", frames[-1])
    assert kept.startswith("headrace: wrote ")
    assert kept.endswith("\r\n") and kept.count("\n") == 1


def test_the_line_is_cleared_before_an_error(binary, tmp_path, output):
    numbers = weights.random_floats(2048, 2048)
    numbers[-1, -1] = float("nan")
    source = weights.write_safetensors(tmp_path / "nan.safetensors", {"w": numbers})
    status, drawn = run_on_terminal([binary, "convert", source, "-o", output / "m.gguf", "--type", "q8_0"], 80)
    assert status == 1
    last = drawn.split("\r\x1b[K")[-1]
    assert "error:" in last and "converting" not in last


def test_a_quiet_terminal(binary, big, output):
    status, drawn = run_on_terminal([binary, "convert", big, "-o", output / "m.gguf", "--type", "q8_0", "-q"], 80)
    assert (status, drawn) == (0, "")


def test_a_dumb_terminal_gets_plain_lines(binary, big, output):
    command = [binary, "convert", big, "-o", output / "m.gguf", "--type", "q8_0"]
    status, drawn = run_on_terminal(command, 80, {"TERM": "dumb"})
    assert status == 0
    assert "\x1b" not in drawn and "\r" not in drawn.replace("\r\n", "\n")


def test_plain_lines_in_a_pipe(binary, tmp_path, output):
    """A job of a few seconds, whatever the machine: doubled until it takes long enough to have something to say."""
    rows = 8192
    while True:
        source = weights.write_sparse_safetensors(tmp_path / "big.safetensors", {"w": ("F32", (rows, 4096))})
        command = [binary, "convert", source, "-o", output / "m.gguf", "--type", "q4_0", "-t", "1", "--force"]
        start = time.monotonic()
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        lines = [(time.monotonic(), line) for line in process.stderr]
        assert process.wait(120) == 0
        if time.monotonic() - start > 3:
            break
        rows *= 2
    progress = [(at, line) for at, line in lines if line.startswith("headrace: converting ")]
    assert 1 <= len(progress) <= 10
    percents = []
    for _, line in progress:
        found = re.fullmatch(r"headrace: converting (\d+) %, [\d.]+ \w+ of [\d.]+ \w+(, .* left)?\n", line)
        assert found, line
        percents.append(int(found[1]))
    assert all(b // 10 > a // 10 for a, b in zip(percents, percents[1:]))
    times = [at for at, _ in progress]
    assert all(b - a > 1.5 for a, b in zip(times, times[1:]))
    assert lines[-1][1].startswith("headrace: wrote ")
