"""Files larger than a test wants to write, and than the budget: sparse, with numbers in a few places."""

import os
import struct
import time
import zlib

import pytest

pytest.importorskip("torch.serialization", reason="PyTorch isn't installed")
import torch

from measure import MIB, measure

ALLOWANCE = 48 * MIB


def patch_stored(path, name, content):
    """Puts other bytes of the same length into an archive's stored entry, with the checksum that belongs to them."""
    crc = struct.pack("<I", zlib.crc32(content))
    with open(path, "r+b") as file:
        file.seek(-65536, os.SEEK_END)
        begin, tail = file.tell(), file.read()
        entry = tail.rindex(b"PK\1\2", 0, tail.rindex(name))
        extra = tail[entry + 46 + len(name) :]
        at = struct.unpack_from("<Q", extra, 4)[0]  # ZIP64's extra field: only the offset is too large for its place
        file.seek(begin + entry + 16)
        file.write(crc)
        file.seek(at)
        name_bytes, extra_bytes = struct.unpack_from("<26x2H", file.read(30))
        file.seek(at + 30 + name_bytes + extra_bytes)
        file.write(content)
        assert file.read(4) == b"PK\7\x08"
        file.write(crc)


def test_an_archive_over_4_gib(read, tmp_path):
    """PyTorch leaves holes for the storages; ours is past the fourth gibibyte."""
    path = tmp_path / "large.pt"
    numbers = torch.arange(1000, dtype=torch.float32)
    with torch.serialization.skip_data():
        torch.save({"other": {"big": torch.empty(4_400_000_000, dtype=torch.uint8)}, "model": {"a": numbers}}, path)
    assert path.stat().st_size > 1 << 32 and path.stat().st_blocks * 512 < 1 << 20
    patch_stored(path, b"large/data/1", numbers.numpy().tobytes())
    found = read(path, "--torch-key", "model")
    path.unlink()
    assert list(found) == ["a"] and torch.equal(found["a"], numbers)


def leave_holes(monkeypatch):
    """Has PyTorch's old format skip the bytes of its storages."""

    def write(storage, file, is_real_file, save_size, element_size):
        file.write(struct.pack("<q", storage.nbytes() // element_size))
        file.truncate(file.seek(storage.nbytes(), os.SEEK_CUR))

    monkeypatch.setattr(torch.UntypedStorage, "_write_file", write)


@pytest.mark.parametrize("memory", [64, 256])
def test_a_legacy_file_of_3_gb(binary, tmp_path, monkeypatch, memory):
    if os.environ.get("HEADRACE_SANITIZER"):
        pytest.skip("the sanitizer's own memory would be measured")
    leave_holes(monkeypatch)
    layers = {f"blocks.{i}.weight": torch.empty(4096, 4096, dtype=torch.float16) for i in range(88)}
    layers["transposed"] = torch.empty(4096, 8192, dtype=torch.float16).t()
    path, out = tmp_path / "large.pt", tmp_path / "out.gguf"
    torch.save(layers, path, _use_new_zipfile_serialization=False)
    assert path.stat().st_size > 3_000_000_000
    result = measure(binary, "convert", path, "-o", out, "--type", "q8_0", "--memory", f"{memory}MiB")
    path.unlink()
    assert result.returncode == 0, result.stderr
    out.unlink()
    assert result.peak <= memory * MIB + ALLOWANCE, f"{result.peak / MIB:.1f} MiB"


def test_many_tensors(binary, tmp_path):
    """100,000 of them are listed in seconds, and in the memory that is allowed."""
    storage = torch.zeros(8)
    path = tmp_path / "many.pt"
    torch.save({f"layers.{i // 20}.experts.{i % 20}.weight": storage[i % 4 :][:4] for i in range(100_000)}, path)
    start = time.monotonic()
    result = measure(binary, "inspect", path)
    assert result.returncode == 0 and "100000" in result.stdout.replace(",", ""), result.stderr
    assert time.monotonic() - start < 10
    if not os.environ.get("HEADRACE_SANITIZER"):
        assert result.peak <= (256 + 48) * MIB
