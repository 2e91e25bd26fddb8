"""Disks that are really full: small ones, mounted for the purpose."""

import json
import subprocess
import time

import pytest

import bigfiles

MIB = 1 << 20


@pytest.fixture
def model(tmp_path):
    """40 MiB of F16; 21.25 MiB as Q8_0."""
    shapes = {f"blocks.{i}.weight": (1024, 1024) for i in range(20)}
    return bigfiles.write_halves(tmp_path / "model.safetensors", shapes)


def convert(binary, source, output, *extra, **options):
    command = [binary, "convert", source, "-o", output, "--json", *extra]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize("options", [("out.gguf", "--type", "q8_0"), ("out.safetensors",)])
def test_too_small_a_disk_is_found_before_work_starts(binary, model, small_disk, faults, tmp_path, options):
    disk = small_disk(16)
    output = disk / options[0]
    log = tmp_path / "faults.log"
    # Had it begun, every write would have been slow, and said so.
    result = convert(binary, model, output, *options[1:], env=faults(disk, SLOW_MS=1, LOG=log))
    assert result.returncode == 1
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "no_space" and error["file"] == str(output)
    assert "MB" in error["expected"] and "16.8 MB available" in error["found"]
    assert "too small" in result.stderr and "free some space" in result.stderr
    assert bigfiles.listing(disk) == []
    assert not log.exists()


def test_the_disk_is_no_smaller_than_it_needs_to_be(binary, model, small_disk):
    disk = small_disk(22)
    result = convert(binary, model, disk / "out.gguf", "--type", "q8_0")
    assert result.returncode == 0, result.stderr
    assert (disk / "out.gguf").stat().st_size > 21 * MIB


@pytest.mark.parametrize("settings", [{}, {"NO_TMPFILE": 1}])
@pytest.mark.parametrize("options", [("out.gguf", "--type", "q8_0"), ("out.safetensors",)])
def test_a_disk_that_fills_up_meanwhile(binary, model, small_disk, faults, tmp_path, options, settings):
    disk = small_disk(48)
    output, filler = disk / options[0], disk / "filler"
    log, resume = tmp_path / "faults.log", tmp_path / "resume"
    env = faults(disk, STALL="pwrite:after", RESUME=resume, LOG=log, **settings)  # the header's
    command = [binary, "convert", model, "-o", output, *options[1:]]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not log.exists() or "stalled" not in log.read_text():
        assert time.monotonic() < deadline, "the header was never written"
        time.sleep(0.005)
    filler.write_bytes(bytes(40 * MIB))
    resume.touch()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert str(output) in stderr and "No space left" in stderr and "at byte " in stderr
    assert bigfiles.listing(disk) == ["filler"]


def test_an_old_file_survives_a_full_disk(binary, model, small_disk):
    disk = small_disk(16)
    output = disk / "out.gguf"
    output.write_bytes(b"old")
    assert convert(binary, model, output, "--type", "q8_0", "--force").returncode == 1
    assert output.read_bytes() == b"old"
    assert bigfiles.listing(disk) == ["out.gguf"]


def test_a_read_only_disk(binary, model, small_disk):
    disk = small_disk(64)
    remounted = subprocess.run(["mount", "-o", "remount,ro", str(disk)], capture_output=True, text=True)
    if remounted.returncode != 0:
        pytest.skip(f"can't remount read-only: {remounted.stderr.strip()}")
    result = convert(binary, model, disk / "out.gguf", "--type", "q8_0")
    assert result.returncode == 1
    assert str(disk / "out.gguf") in result.stderr and "Read-only file system" in result.stderr


def test_a_limit_on_the_size_of_files(binary, model, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    command = f'ulimit -f 2048; exec "{binary}" convert "{model}" -o "{folder}/out.gguf" --type q8_0'
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1, result
    assert "out.gguf" in result.stderr and "ulimit -f" in result.stderr
    assert bigfiles.listing(folder) == []
