"""headrace devices: the list, JSON, and machines with and without drivers.

HEADRACE_FAKE_CUDA  libheadrace_fake_cuda.so, built from tests/device
"""

import json
import os

import pytest

NO_CUDA = {"HEADRACE_CUDA_LIBRARY": "/absent/libcuda.so.1"}
NO_OPENCL = {"HEADRACE_OPENCL_LIBRARY": "/absent/libOpenCL.so.1"}


@pytest.fixture
def devices(headrace):
    """The list and what is absent, on a machine with these settings."""

    def run(**settings):
        result = headrace("devices", "--json", env=os.environ | settings)
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        document = json.loads(result.stdout)
        return {device["name"]: device for device in document["devices"]}, {
            absent["kind"]: absent["reason"] for absent in document["absent"]
        }

    return run


@pytest.fixture(scope="session")
def sanitized():
    """The sanitizer that the command was built with, if any."""
    return os.environ.get("HEADRACE_SANITIZER")


@pytest.fixture
def fake_cuda(devices):
    """As devices, with the fake CUDA driver."""
    library = os.environ.get("HEADRACE_FAKE_CUDA")
    if not library or not os.path.isfile(library):
        pytest.fail(f"set HEADRACE_FAKE_CUDA to the path of libheadrace_fake_cuda.so; it is {library!r}")
    return lambda **settings: devices(HEADRACE_CUDA_LIBRARY=os.path.abspath(library), **NO_OPENCL, **settings)


def test_a_machine_without_drivers_has_itself(devices):
    found, absent = devices(**NO_CUDA, **NO_OPENCL)
    assert list(found) == ["host"]
    host = found["host"]
    assert host["kind"] == "host"
    assert host["description"]
    assert 0 < host["memory_free"] <= host["memory_total"]
    assert host["memory_total"] <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert "can't load /absent/libOpenCL.so.1" in absent["opencl"]
    assert "can't load /absent/libcuda.so.1" in absent["cuda"]


def test_opencl(devices, sanitized):
    if sanitized:
        pytest.skip("drivers have their own ideas of memory and threads")
    found, absent = devices(**NO_CUDA)
    if "opencl" in absent:
        pytest.skip(absent["opencl"])
    device = found["opencl:0"]
    assert device["kind"] == "opencl"
    assert device["memory_free"] is None
    assert 0 < device["largest_buffer"] <= device["memory_total"]


def test_an_opencl_loader_without_drivers(devices, tmp_path):
    found, absent = devices(**NO_CUDA, OCL_ICD_VENDORS=str(tmp_path))
    assert list(found) == ["host"]
    assert "no OpenCL driver is installed" in absent["opencl"] or "can't load" in absent["opencl"]


def test_cuda(fake_cuda):
    found, absent = fake_cuda()
    assert list(found) == ["host", "cuda:0", "cuda:1"]
    assert list(absent) == ["opencl"]
    assert found["cuda:1"] == {
        "name": "cuda:1",
        "kind": "cuda",
        "description": "Fake GPU 1",
        "memory_total": 256 << 20,
        "memory_free": 256 << 20,
        "largest_buffer": 256 << 20,
    }


def test_cuda_without_a_gpu(fake_cuda):
    found, absent = fake_cuda(HEADRACE_FAKE_CUDA_INIT="100")
    assert list(found) == ["host"]
    assert absent["cuda"] == "cuInit failed: CUDA_ERROR_NO_DEVICE (100)"


def test_a_device_that_fails_hides_no_other(fake_cuda):
    found, absent = fake_cuda(HEADRACE_FAKE_CUDA_MUTE="0")
    assert list(found) == ["host", "cuda:1"]
    assert list(absent) == ["opencl"]


def test_table(headrace):
    library = os.environ.get("HEADRACE_FAKE_CUDA", "")
    result = headrace("devices", env=os.environ | NO_OPENCL | {"HEADRACE_CUDA_LIBRARY": library})
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["device", "description", "memory", "free", "largest", "buffer"]
    assert lines[1].startswith("host ")
    assert lines[2].split() == ["cuda:0", "Fake", "GPU", "0", "268", "MB", "268", "MB", "268", "MB"]
    assert lines[-1].startswith("no opencl: can't load /absent/libOpenCL.so.1")


def test_other_commands_load_no_driver(headrace, model, tmp_path):
    def loaded(*arguments):
        log = tmp_path / "log"
        result = headrace(*arguments, env=os.environ | {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(log)})
        assert result.returncode == 0, result.stderr
        (written,) = tmp_path.glob("log.*")
        text = written.read_text()
        written.unlink()
        return {name for name in ["libcuda.so", "libOpenCL.so"] if name in text}

    assert loaded("devices") == {"libcuda.so", "libOpenCL.so"}  # or is looked for
    for arguments in [["--version"], ["inspect", model], ["devices", "--help"]]:
        assert loaded(*arguments) == set()


def test_a_word_too_many(headrace):
    result = headrace("devices", "cuda")
    assert result.returncode == 2
    assert "cuda" in result.stderr
