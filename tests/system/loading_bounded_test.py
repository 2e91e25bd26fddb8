"""Peak memory of loading: the model's own, the budget and 64 MiB; of what is discarded, the largest tensor's instead.

The model is a sparse file: zeros that cost no disk.
"""

import json
import os
import subprocess

import pytest

import weights
from measure import MIB, measure

BUDGET = 64 * MIB
ALLOWANCE = 64 * MIB
SHAPE = (915, 4096)  # of F16: 7.1 MiB
TENSORS = 400  # 3.0 GB


@pytest.fixture(autouse=True)
def unsanitized(sanitized):
    if sanitized:
        pytest.skip(f"the {sanitized} sanitizer's own memory would be measured")


@pytest.fixture(autouse=True)
def enough_memory():
    with open("/proc/meminfo") as file:
        available = next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:"))
    if available < 5_000_000_000:
        pytest.skip("less than 5 GB of memory is free")


def tensors_of(count):
    return {f"blocks.{i}.weight": ("F16", SHAPE) for i in range(count)}


def bytes_of(count):
    return 2 * SHAPE[0] * SHAPE[1] * count


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return weights.write_sparse_safetensors(tmp_path_factory.mktemp("model") / "m.safetensors", tensors_of(TENSORS))


@pytest.fixture
def load(binary, figure):
    """Loads, and gives the peak of the whole process."""

    def run(source, what, *options, limit, **extra):
        command = [binary, "load", source, "--memory", str(BUDGET), "-q", "--json", *options]
        result = measure(*command, **extra)
        assert result.returncode == 0, result.stderr
        document = json.loads(result.stdout)
        figure(
            f"load {what}: peak {result.peak / MIB:7.1f} MiB, of at most {limit / MIB:7.1f}; of the budget "
            f"{document['peak_budget'] / MIB:4.1f} MiB; {document['seconds']:.2f} s"
        )
        # What the command says of itself is what the system says when it is over.
        assert document["peak_memory"] == pytest.approx(result.peak, rel=0.02, abs=2 * MIB)
        assert document["peak_budget"] <= BUDGET
        assert result.peak <= limit, f"peak of {result.peak / MIB:.1f} MiB"
        return document, result.peak

    return run


@pytest.mark.parametrize("reads", ["cached", "direct", "mapped"])
def test_to_the_host(load, model, reads):
    limit = bytes_of(TENSORS) + BUDGET + ALLOWANCE
    document, peak = load(model, f"3 GB to the host, {reads}", "--host-reads", reads, limit=limit)
    assert document["host_bytes"] == bytes_of(TENSORS)
    assert document["mapped_bytes"] == (bytes_of(TENSORS) if reads == "mapped" else 0)
    if reads != "mapped":  # or it didn't hold the model
        assert peak > bytes_of(TENSORS)


@pytest.mark.parametrize("more", [[], ["--type", "bf16"]])
def test_to_the_host_from_a_pipe(load, model, more):
    limit = bytes_of(TENSORS) + BUDGET + ALLOWANCE
    with subprocess.Popen(["cat", model], stdout=subprocess.PIPE) as cat:
        load("-", f"3 GB to the host from a pipe {' '.join(more)}", *more, limit=limit, stdin=cat.stdout)


@pytest.mark.parametrize("reads", ["auto", "cached", "direct"])
def test_discarded(load, model, reads):
    limit = bytes_of(1) + BUDGET + ALLOWANCE
    load(model, f"3 GB through the host, {reads}", "--discard", "--host-reads", reads, limit=limit)


@pytest.mark.parametrize("reads", ["auto", "cached"])
def test_large_tensors_discarded_by_many_threads(load, tmp_path, reads):
    """All of them together read ahead within the budget; a thread that falls back holds the tensor it works at."""
    path = tmp_path / "m.safetensors"
    weights.write_sparse_safetensors(path, {f"blocks.{i}.weight": ("F16", (8192, 4096)) for i in range(24)})  # 64 MiB
    limit = 4 * 64 * MIB + BUDGET + ALLOWANCE
    more = ["--discard", "--threads", "32", "--host-reads", reads]
    load(path, f"1.6 GB through the host on 32 threads, {reads}", *more, limit=limit)


def test_discarded_from_a_pipe(load, model):
    limit = bytes_of(1) + BUDGET + ALLOWANCE
    with subprocess.Popen(["cat", model], stdout=subprocess.PIPE) as cat:
        load("-", "3 GB through the host from a pipe", "--discard", limit=limit, stdin=cat.stdout)


@pytest.fixture(scope="module")
def opencl(binary, tmp_path_factory):
    """What the driver holds by itself: the peak of loading next to nothing to it."""
    devices = json.loads(subprocess.run([binary, "devices", "--json"], capture_output=True, check=True).stdout)
    absent = {each["kind"]: each["reason"] for each in devices["absent"]}
    if "opencl" in absent:
        pytest.skip(absent["opencl"])
    smallest = tmp_path_factory.mktemp("small") / "m.safetensors"
    weights.write_sparse_safetensors(smallest, {"w": ("F16", (32, 32))})
    command = [binary, "load", smallest, "-d", "opencl:0", "--memory", "1MiB", "-q", "--json"]
    result = measure(*command)
    assert result.returncode == 0, result.stderr
    return result.peak


@pytest.mark.parametrize("more", [[], ["--host-reads", "cached"], ["--no-stream"]])
def test_to_opencl(load, model, opencl, more):
    """On a driver for processors, whose memory is this process's."""
    copies = 2 if more == ["--no-stream"] else 1  # gathered on the host first
    limit = copies * bytes_of(TENSORS) + BUDGET + ALLOWANCE + opencl
    document, _ = load(model, f"3 GB to OpenCL {' '.join(more)}", "-d", "opencl:0", *more, limit=limit)
    assert document["device_bytes"] == bytes_of(TENSORS)


def test_through_opencl(load, model, opencl):
    # The C library would keep what the driver gives back to it, some 300 MiB, were it not for this setting.
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(MIB)}
    limit = bytes_of(1) + BUDGET + ALLOWANCE + opencl
    document, _ = load(model, "3 GB through OpenCL", "-d", "opencl:0", "--discard", limit=limit, env=env)
    assert document["device_bytes"] == bytes_of(TENSORS)
