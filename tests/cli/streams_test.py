"""headrace convert -: safetensors and GGUF in one forward pass."""

import os
import signal
import subprocess
import time

import pytest
import weights


def convert_stream(binary, content, *arguments, chunk=None, pause=0.0):
    """Writes `content` into the command's standard input, by chunks if asked; gives the finished process."""
    command = [binary, "convert", "-", *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        for at in range(0, len(content), chunk or max(len(content), 1)):
            process.stdin.write(content[at : at + (chunk or len(content))])
            process.stdin.flush()
            time.sleep(pause)
        process.stdin.close()
    except BrokenPipeError:
        pass
    process.stdin = None
    out, errors = process.communicate(timeout=120)
    return subprocess.CompletedProcess(command, process.returncode, out.decode(), errors.decode())


@pytest.fixture
def large(tmp_path):
    """Some megabytes, in tensors of many sizes: some share a piece, some are cut into several."""
    shapes = [(700, 1024), (3, 32), (1, 32), (0, 32), (2000, 512), (5,), (64, 64)] * 2
    tensors = {f"t.{i}": weights.random_floats(*shape, seed=i) for i, shape in enumerate(shapes)}
    return weights.write_safetensors(tmp_path / "large.safetensors", tensors, {"general.name": "large"})


@pytest.mark.parametrize("type_options", [[], ["--type", "q8_0"], ["--type", "q4_0", "--imatrix", "ones"]])
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_a_stream_gives_what_the_file_gives(binary, headrace, large, output, type_options, threads):
    expected, got = output / "file.gguf", output / "stream.gguf"
    assert headrace("convert", large, "-o", expected, *type_options).returncode == 0
    result = convert_stream(binary, large.read_bytes(), "-o", got, "--threads", threads, *type_options)
    assert result.returncode == 0, result.stderr
    assert got.read_bytes() == expected.read_bytes()


def test_gguf_comes_through(binary, headrace, large, output):
    gguf, got = output / "model.gguf", output / "copy.gguf"
    assert headrace("convert", large, "-o", gguf).returncode == 0
    result = convert_stream(binary, gguf.read_bytes(), "-o", got)
    assert result.returncode == 0, result.stderr
    assert got.read_bytes() == gguf.read_bytes()


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_it_may_come_in_drops(binary, headrace, model, output, chunk):
    expected, got = output / "file.gguf", output / "stream.gguf"
    assert headrace("convert", model, "-o", expected).returncode == 0
    result = convert_stream(binary, model.read_bytes(), "-o", got, chunk=chunk)
    assert result.returncode == 0, result.stderr
    assert got.read_bytes() == expected.read_bytes()


def test_small_memory_and_many_threads(binary, headrace, large, output):
    expected, got = output / "file.gguf", output / "stream.gguf"
    assert headrace("convert", large, "-o", expected, "--type", "q8_0").returncode == 0
    result = convert_stream(
        binary, large.read_bytes(), "-o", got, "--type", "q8_0", "--memory", "4MiB", "--threads", 16
    )
    assert result.returncode == 0, result.stderr
    assert got.read_bytes() == expected.read_bytes()


def test_a_row_longer_than_a_piece_is_held_whole(binary, headrace, tmp_path, output):
    # Q4_0 with weights needs the mean square of the whole row, and there is no second look at a stream.
    wide = weights.write_safetensors(tmp_path / "w.safetensors", {"w": weights.random_floats(2, 1 << 20)})
    options = ["--type", "q4_0", "--imatrix", "ones"]
    expected, got = output / "file.gguf", output / "stream.gguf"
    assert headrace("convert", wide, "-o", expected, *options).returncode == 0
    result = convert_stream(binary, wide.read_bytes(), "-o", got, *options, "--memory", "64MiB")
    assert result.returncode == 0, result.stderr
    assert got.read_bytes() == expected.read_bytes()
    result = convert_stream(binary, wide.read_bytes(), "-o", output / "none.gguf", *options, "--memory", "2MiB")
    assert result.returncode == 1
    assert "--memory" in result.stderr
    assert not (output / "none.gguf").exists()


def test_cut_short(binary, model, output):
    content = model.read_bytes()
    for end in [0, 3, 8, 40, len(content) // 2, len(content) - 1]:
        result = convert_stream(binary, content[:end], "-o", output / "m.gguf")
        assert result.returncode == 1, end
        assert "standard input" in result.stderr
        assert os.listdir(output) == []


def test_too_long(binary, model, output):
    result = convert_stream(binary, model.read_bytes() + b"xx", "-o", output / "m.gguf")
    assert result.returncode == 1
    assert "goes on after the data" in result.stderr
    assert os.listdir(output) == []


def test_what_needs_a_second_look_is_refused(binary, model, output):
    for content in [b"PK\x03\x04" + bytes(60), b"\x80\x02" + bytes(60), b"\x93NUMPY" + bytes(60), b'{"weight_map":{}}']:
        result = convert_stream(binary, content, "-o", output / "m.gguf")
        assert result.returncode == 1
        assert "save it to a file first" in result.stderr
    result = subprocess.run([binary, "verify", "-", model], stdin=open(model, "rb"), capture_output=True, text=True)
    assert result.returncode == 1
    assert "save it to a file first" in result.stderr


def test_inspect_reads_the_header_alone(binary, model):
    result = subprocess.run([binary, "inspect", "-"], stdin=open(model, "rb"), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "not known: a stream" in result.stdout


def test_a_signal_ends_the_wait_for_more(binary, model, output):
    process = subprocess.Popen(
        [binary, "convert", "-", "-o", output / "m.gguf"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=False
    )
    process.stdin.write(model.read_bytes()[:-100])
    process.stdin.flush()
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    process.stdin.close()
    assert os.listdir(output) == []


def test_a_failure_doesnt_wait_for_the_rest(binary, tmp_path, output):
    bad = weights.random_floats(2000, 512)
    bad[0, 0] = float("nan")
    source = weights.write_safetensors(tmp_path / "nan.safetensors", {"w": bad})
    process = subprocess.Popen(
        [binary, "convert", "-", "-o", output / "m.gguf", "--type", "q8_0"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        process.stdin.write(source.read_bytes()[:-100_000])
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it was quicker
    assert process.wait(timeout=20) == 1  # with the pipe still open
    assert b"'w'" in process.stderr.read()
    try:
        process.stdin.close()
    except BrokenPipeError:
        pass
    assert os.listdir(output) == []


def test_the_file_that_is_the_standard_input_is_no_output(binary, model):
    before = model.read_bytes()
    with open(model, "rb") as source:
        result = subprocess.run(
            [binary, "convert", "-", "-o", model, "--type", "f16", "--force"],
            stdin=source, capture_output=True, text=True,
        )  # fmt: skip
    assert result.returncode == 1
    assert "the output is an input" in result.stderr
    assert model.read_bytes() == before
