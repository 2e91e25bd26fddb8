"""Checkpoints from a real server: the same result as from the file, few bytes more, bounded memory."""

import json

import numpy as np
import pytest

import bigfiles
import weights
from measure import MIB, measure

ALLOWANCE = 64 * MIB


@pytest.mark.parametrize("connections", [1, 3, 8])
@pytest.mark.parametrize("suffix", [".safetensors", ".gguf"])
def test_the_same_as_the_file(nginx, content, fetched, connections, suffix):
    nginx.served()
    fetched(f"{nginx.url}/model.safetensors", content, "--connections", connections, suffix=suffix)
    served = nginx.served()
    assert served.bytes <= 1.02 * content.stat().st_size
    assert served.connections <= connections
    assert set(served.statuses) == {206}


def test_several_readers_do_read_at_once(nginx, content, fetched):
    nginx.served()
    fetched(f"{nginx.url}/slow/model.safetensors", content, "--connections", 4, "--memory", "8MiB")
    assert nginx.served().connections > 1


def test_gguf(nginx, headrace, content, fetched):
    local = nginx.files / "model.gguf"
    assert headrace("convert", content, "-o", local, "--type", "q8_0", "--force").returncode == 0
    fetched(f"{nginx.url}/model.gguf", local, suffix=".gguf")
    fetched(f"{nginx.url}/no-ranges/model.gguf", local, suffix=".gguf")


@pytest.mark.parametrize("suffix", [".safetensors", ".gguf"])
def test_a_server_without_ranges(nginx, content, fetched, suffix):
    nginx.served()
    fetched(f"{nginx.url}/no-ranges/model.safetensors", content, suffix=suffix)
    served = nginx.served()
    assert served.statuses == {200: 1}
    assert served.bytes <= 1.02 * content.stat().st_size


def test_tls(nginx, content, fetched, refused):
    url = f"{nginx.secure_url}/model.safetensors"
    for variable in ["SSL_CERT_FILE", "CURL_CA_BUNDLE"]:
        fetched(url, content, variables={variable: str(nginx.certificate)})
    says = refused(url)
    assert url in says and "certificate" in says


def test_tls_says_whose_certificate_it_is(nginx, refused):
    # The certificate is for 127.0.0.1 alone.
    url = f"{nginx.secure_url}/model.safetensors".replace("127.0.0.1", "localhost")
    says = refused(url, variables={"SSL_CERT_FILE": str(nginx.certificate)})
    assert "localhost" in says


def test_no_way_back_from_tls(nginx, refused):
    says = refused(f"{nginx.secure_url}/downgrade/x", variables={"SSL_CERT_FILE": str(nginx.certificate)})
    assert "https:// to http://" in says


def test_a_redirect_on_the_same_host(nginx, content, fetched):
    nginx.served()
    fetched(f"{nginx.url}/moved/model.safetensors", content)
    assert nginx.served().statuses[302] == 1  # it is remembered where that led


def test_a_password_in_the_url(nginx, content, fetched, refused):
    fetched(f"http://me:mellon@{nginx.netloc}/secret/model.safetensors", content)
    says = refused(f"http://me:melone@{nginx.netloc}/secret/model.safetensors?key=hush")
    assert "401" in says and "--header" in says
    assert "melone" not in says and "me:mel" not in says and "hush" not in says
    nginx.served()
    assert "401" in refused(f"{nginx.url}/secret/model.safetensors")
    assert nginx.served().requests == 1


def test_a_file_that_is_not_there(nginx, refused):
    nginx.served()
    says = refused(f"{nginx.url}/none.safetensors")
    assert f"{nginx.url}/none.safetensors: " in says and "404 (not found)" in says
    assert nginx.served().requests == 1


def test_an_empty_file(nginx, refused):
    assert "the file is empty" in refused(f"{nginx.url}/empty.safetensors")


@pytest.fixture(scope="module")
def many_tensors(nginx):
    """A header of some 11 MB."""
    shapes = {f"layers.{i // 20}.mlp.experts.{i % 20}.down_proj.weight": (2, 32) for i in range(100_000)}
    islands = {name: {0: bigfiles.tame_halves(64, i)} for i, name in enumerate(shapes) if i % 1000 == 0}
    return bigfiles.write_islands(nginx.files / "many.safetensors", shapes, islands)


def test_a_large_header(nginx, headrace, many_tensors, fetched):
    url = f"{nginx.url}/many.safetensors"
    nginx.served()
    fetched(url, many_tensors)
    served = nginx.served()
    assert served.bytes <= 1.02 * many_tensors.stat().st_size
    with open(many_tensors, "rb") as file:
        header = 8 + int.from_bytes(file.read(8), "little")
    shown = json.loads(headrace("inspect", url, "--json").stdout)
    assert len(shown["tensors"]) == 100_000
    assert nginx.served().bytes <= 1.02 * header


def test_a_large_gguf_header_needs_few_requests(nginx, headrace, many_tensors, fetched):
    local = nginx.files / "many.gguf"
    assert headrace("convert", many_tensors, "-o", local).returncode == 0
    url = f"{nginx.url}/many.gguf"
    nginx.served()
    assert headrace("inspect", url).returncode == 0
    assert nginx.served().requests < 20  # of some 8 MB, read 64 KiB at a time
    fetched(url, local)
    assert nginx.served().bytes <= 1.02 * local.stat().st_size


@pytest.fixture(scope="module")
def large(nginx):
    """A gigabyte, sparse, with numbers here and there."""
    shapes = {f"blocks.{i}.weight": (8192, 4096) for i in range(16)}
    islands = {f"blocks.{i}.weight": {0: bigfiles.tame_halves(4096, i)} for i in (0, 7, 15)}
    return bigfiles.write_islands(nginx.files / "large.safetensors", shapes, islands)


@pytest.mark.parametrize("budget", [64, 256])
@pytest.mark.parametrize("address", ["plain", "tls", "no ranges"])
def test_within_the_budget(nginx, binary, environment, sanitized, tmp_path, large, address, budget, capsys):
    if sanitized:
        pytest.skip(f"the {sanitized} sanitizer's own memory would be measured")
    base = {"plain": nginx.url, "tls": nginx.secure_url, "no ranges": f"{nginx.url}/no-ranges"}[address]
    output = tmp_path / "out.gguf"
    command = [binary, "convert", f"{base}/large.safetensors", "-o", output, "--type", "q8_0", "-q"]
    nginx.served()
    result = measure(
        *command, "--memory", f"{budget}MiB", env=environment | {"SSL_CERT_FILE": str(nginx.certificate)}
    )
    assert result.returncode == 0, result.stderr
    with capsys.disabled():
        print(f"\n{address}, --memory {budget}MiB: peak {result.peak / MIB:.1f} MiB, {result.wall:.2f} s", end=" ")
    assert result.peak <= budget * MIB + ALLOWANCE
    assert nginx.served().bytes <= 1.02 * large.stat().st_size
    begin, elements = bigfiles.gguf_places(output)["blocks.7.weight"]
    assert elements == 8192 * 4096
    first = np.memmap(output, np.uint8, "r", begin, 34 * 128)
    assert first.any()
    output.unlink()


def test_verify_between_a_url_and_a_file(nginx, headrace, content, tmp_path):
    assert headrace("verify", f"{nginx.url}/model.safetensors", content).returncode == 0
    other = weights.write_safetensors(tmp_path / "other.safetensors", {"big.weight": np.ones((1024, 2048), np.float16)})
    assert headrace("verify", f"{nginx.url}/model.safetensors", other).returncode != 0
