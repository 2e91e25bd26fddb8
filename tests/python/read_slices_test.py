"""t[...] against numpy, and which bytes it reads."""

import pathlib
import random

import gguf
import headrace
import numpy as np
import pytest
import safetensors.numpy
import torch
from reading import RangeServer


SAMPLES = pathlib.Path(__file__).parent.parent / "data/golden/gguf-samples/tensors_all_a32.gguf"


def random_index(shape, rng):
    parts = []
    for size in shape[:rng.randint(0, len(shape))]:
        if size and rng.random() < 0.3:
            parts.append(rng.randrange(-size, size))
        else:
            ends = [None, *range(-size - 2, size + 3)]
            parts.append(slice(rng.choice(ends), rng.choice(ends), rng.choice([None, 1, 1, 2, 3, 7, -1, -2, -5])))
    if rng.random() < 0.4:
        at = rng.randint(0, len(parts))
        more = range(rng.randint(0, len(shape) - len(parts)))
        rest = [slice(rng.choice([None, 1]), None, rng.choice([1, 2, -1])) for _ in more]
        parts = [*parts[:at], Ellipsis, *parts[at:], *rest][:len(shape) + 1]
    return parts[0] if len(parts) == 1 and rng.random() < 0.5 else tuple(parts)


def check(tensor, whole, count, seed):
    rng = random.Random(seed)
    for _ in range(count):
        index = random_index(whole.shape, rng)
        try:
            expected = whole[index]
        except IndexError:
            with pytest.raises(IndexError):
                tensor.numpy(index)
            continue
        ours = tensor.numpy(index)
        assert ours.shape == expected.shape and np.array_equal(ours, expected), index
        if rng.random() < 0.2:
            theirs = tensor.torch(index).numpy()
            assert theirs.shape == expected.shape and np.array_equal(theirs, expected), index


@pytest.mark.parametrize("shape, dtype",
                         [((13, 7, 9), "<f2"), ((50, 40), "<i8"), ((400,), "u1"), ((3, 1, 4, 2), "<f4")])
def test_plain(tmp_path, shape, dtype):
    whole = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
    safetensors.numpy.save_file({"w": whole}, tmp_path / "m")
    check(headrace.open(tmp_path / "m")["w"], whole, 60, 1)


def test_strided(tmp_path):
    base = torch.arange(24 * 35 * 6, dtype=torch.float32).reshape(24, 35, 6)
    views = {"turned": base.permute(2, 0, 1), "some": base[::2, 3:20, 1:], "transposed": base[:, :, 0].t()}
    torch.save(views, tmp_path / "m.pt")
    checkpoint = headrace.open(tmp_path / "m.pt")
    assert checkpoint.format == "torch"
    for name, view in views.items():
        check(checkpoint[name], view.numpy(), 50, 2)


def test_blocks():
    checkpoint = headrace.open(SAMPLES)
    for name in [name for name in checkpoint if checkpoint[name].dtype in ("Q4_K", "Q8_0", "IQ4_NL", "MXFP4")]:
        check(checkpoint[name], checkpoint[name].numpy(), 40, 3)


def test_blocks_in_many_rows(tmp_path):
    numbers = np.random.default_rng(1).standard_normal((300, 512), np.float32)
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "test")
    writer.add_tensor("w", gguf.quants.quantize(numbers, gguf.GGMLQuantizationType.Q5_0),
                      raw_dtype=gguf.GGMLQuantizationType.Q5_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    checkpoint = headrace.open(tmp_path / "m.gguf")
    check(checkpoint["w"], checkpoint["w"].numpy(), 60, 4)


def test_what_is_no_index(tmp_path):
    safetensors.numpy.save_file({"w": np.zeros((4, 5), np.float32)}, tmp_path / "m")
    tensor = headrace.open(tmp_path / "m")["w"]
    for index in [4, -5, (0, 0, 0), (..., ...), (slice(None), 5)]:
        with pytest.raises(IndexError) as caught:
            tensor[index]
        assert isinstance(caught.value, headrace.Error) and caught.value.tensor == "w"
    for index in [None, True, 1.5, [0, 1], "a", np.array([0, 1])]:
        with pytest.raises(headrace.InvalidArgumentError):
            tensor[index]
    with pytest.raises(ValueError):
        tensor[::0]
    assert tensor[np.int64(1), np.uint8(2)] == 0 and len(list(tensor)) == 4


def test_only_what_is_needed_is_read(tmp_path):
    whole = np.arange(2000 * 4096, dtype=np.float32).reshape(2000, 4096)
    small = np.arange(400 * 50, dtype=np.float32).reshape(400, 50)
    safetensors.numpy.save_file({"big": whole, "small": small}, tmp_path / "m")
    with RangeServer(tmp_path / "m") as server:
        checkpoint = headrace.open(server.url)
        start = 8 + int.from_bytes((tmp_path / "m").read_bytes()[:8], "little")
        opened = sum(end - first for first, end in server.ranges)
        assert opened < 2 << 20

        def bytes_of(read):
            server.ranges.clear()
            read()
            return sum(end - first for first, end in server.ranges), len(server.ranges)

        big, small_tensor = checkpoint["big"], checkpoint["small"]
        expected = whole[1000:1010]
        got, requests = bytes_of(lambda: np.testing.assert_array_equal(big[1000:1010], expected))
        assert got == expected.nbytes and requests == 1
        assert server.ranges[0] == (start + 1000 * 16384, start + 1010 * 16384)
        got, requests = bytes_of(lambda: np.testing.assert_array_equal(big[5, 100:200], whole[5, 100:200]))
        assert got == 400 and requests == 1
        # Columns lie close together: a few reads of all, not one for each number.
        got, requests = bytes_of(lambda: np.testing.assert_array_equal(small_tensor[:, 0], small[:, 0]))
        assert got <= small.nbytes and requests <= 2
        got, requests = bytes_of(lambda: np.testing.assert_array_equal(small_tensor[::2, ::2], small[::2, ::2]))
        assert got <= small.nbytes and requests <= 2
        got, requests = bytes_of(lambda: np.testing.assert_array_equal(big[300::500, :3], whole[300::500, :3]))
        assert got == 4 * 12 and requests == 4


def test_framework_of_an_index(tmp_path):
    safetensors.numpy.save_file({"w": np.arange(6, dtype=np.float32)}, tmp_path / "m")
    assert isinstance(headrace.open(tmp_path / "m")["w"][1:3], np.ndarray)
    assert isinstance(headrace.open(tmp_path / "m", framework="np")["w"][...], np.ndarray)
    assert torch.equal(headrace.open(tmp_path / "m", framework="pt")["w"][::-2], torch.tensor([5.0, 3, 1]))
    with pytest.raises(headrace.InvalidArgumentError):
        headrace.open(tmp_path / "m", framework="jax")
