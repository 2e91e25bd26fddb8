"""TensorFlow.js models loaded while they come from nginx, which has no ranges: at full speed and at a crawl."""

import hashlib
import json
import shutil

import pytest
import weights
from tfjs_servers_test import GOLDEN, MODELS


@pytest.fixture(scope="module")
def served(nginx):
    return shutil.copytree(GOLDEN, nginx.files / "loaded", copy_function=shutil.copyfile)


@pytest.mark.parametrize("device", ["host", "opencl:0"])
@pytest.mark.parametrize("place", ["no-ranges", "crawling-no-ranges"])
@pytest.mark.parametrize("name", MODELS)
def test_published_models(nginx, served, headrace, binary, tmp_path, name, place, device):
    if device not in headrace("devices").stdout:
        pytest.skip(f"there is no {device} here")
    manifest = next(path for path in (served / name).glob("*.json") if path.name != "expected.json")
    result = headrace("load", f"{nginx.url}/{place}/loaded/{name}/{manifest.name}", "--device", device, "--host-threshold",
                      "0", "--keep-host-copy", "--save", tmp_path / "out.safetensors", "--json")
    assert result.returncode == 0, result.stderr
    expected = json.loads((served / name / "expected.json").read_text())
    found = weights.read_safetensors(tmp_path / "out.safetensors")
    assert found.keys() == expected.keys()
    for tensor, (_, shape, data) in found.items():
        assert list(shape) == expected[tensor]["shape"], tensor
        assert hashlib.sha256(data).hexdigest() == expected[tensor]["sha256"], tensor
