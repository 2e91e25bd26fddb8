"""save_safetensors_streaming: as people have it, and what it refuses."""

import concurrent.futures
import os

import numpy as np
import pytest
import safetensors.torch
import torch

import headrace

META = [("a", "BF16", (2, 3)), ("b", "bfloat16", [4]), ("c", torch.float32, torch.Size([2])), ("d", "F8_E4M3", (5,))]


def tensors():
    return {"a": torch.ones(2, 3, dtype=torch.bfloat16), "b": torch.arange(4).to(torch.bfloat16),
            "c": torch.tensor([1.0, 2.0]), "d": torch.ones(5).to(torch.float8_e4m3fn)}


def check(path):
    read = safetensors.torch.load_file(path)
    assert set(read) == set(tensors())
    for name, tensor in tensors().items():
        assert torch.equal(read[name].view(torch.uint8), tensor.view(torch.uint8))


def test_any_order(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")
    made = headrace.save_safetensors_streaming(reversed(tensors().items()), path, META, metadata={"step": "7"})
    assert made == str(path)
    assert os.listdir(tmp_path) == ["m.safetensors"]
    check(path)
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == {"step": "7"}


def test_leaves_the_renaming_to_the_caller(tmp_path):
    path = os.path.join(tmp_path, "m.bin")  # any name at all
    made = headrace.save_safetensors_streaming(iter(tensors().items()), path, META, rename=False)
    assert made == path + ".tmp"
    assert os.listdir(tmp_path) == ["m.bin.tmp"]
    with open(made, "rb+") as file:
        os.fsync(file.fileno())
    os.rename(made, path)
    check(path)


def test_has_its_temporary_name_meanwhile(tmp_path):
    path = tmp_path / "m.safetensors"
    (tmp_path / "m.safetensors.tmp").write_bytes(b"left behind")
    seen = []

    def stream():
        for pair in tensors().items():
            seen.append(os.listdir(tmp_path))
            yield pair

    headrace.save_safetensors_streaming(stream(), path, META)
    assert seen == [["m.safetensors.tmp"]] * 4
    check(path)


def test_in_the_background(tmp_path):
    path = tmp_path / "m.safetensors"
    future = headrace.save_safetensors_streaming(tensors().items(), path, META, asynchronous=True)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(timeout=60) == str(path)
    check(path)
    with pytest.raises(headrace.InvalidArgumentError, match="choose one"):
        headrace.save_safetensors_streaming(tensors().items(), path, META, asynchronous=True, rename=False)


class Elsewhere(torch.Tensor):
    device = torch.device("cuda:0")


@pytest.mark.parametrize("change, problem", [
    ({"c": torch.zeros(3)}, r"tensor 'c': the tensor differs.*expected F32 \[2\], found F32 \[3\]"),
    ({"c": torch.zeros(2, dtype=torch.float16)}, r"expected F32 \[2\], found F16 \[2\]"),
    ({"new": torch.zeros(2)}, "tensor 'new': the tensor was not declared"),
    ({"c": torch.zeros(2, device="meta")}, "tensor 'c'.*meta device"),
    ({"c": torch.zeros(2).as_subclass(Elsewhere)}, "tensor 'c'.*another device.*found cuda:0.*save_streaming"),
    ({"c": "text"}, "tensor 'c'"),
])
def test_what_differs_is_refused_and_leaves_no_file(tmp_path, change, problem):
    with pytest.raises(headrace.Error, match=problem):
        headrace.save_safetensors_streaming((tensors() | change).items(), tmp_path / "m.safetensors", META)
    assert os.listdir(tmp_path) == []


def test_twice_missing_and_failing(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(headrace.InvalidArgumentError, match="tensor 'a': the tensor came twice"):
        headrace.save_safetensors_streaming([*tensors().items(), *tensors().items()], path, META)
    with pytest.raises(headrace.InvalidArgumentError, match="missing: 'c', 'd'"):
        headrace.save_safetensors_streaming(list(tensors().items())[:2], path, META)
    with pytest.raises(headrace.InvalidArgumentError, match="missing: 'none'"):
        headrace.save_safetensors_streaming([], path, [("none", "F32", (0,))])
    with pytest.raises(headrace.InvalidArgumentError, match="twice"):
        headrace.save_safetensors_streaming([], path, [*META, *META])

    def failing():
        yield "a", tensors()["a"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        headrace.save_safetensors_streaming(failing(), path, META)
    assert os.listdir(tmp_path) == ["m.safetensors"]
    assert path.read_bytes() == b"old"


def test_collects_what_it_wants_to_know(tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).to(torch.bfloat16)
    meta = headrace.collect_state_dict_meta(module)
    assert meta[0] == ("0.weight", "BF16", (4, 3))
    assert meta == headrace.collect_state_dict_meta(module.state_dict())
    with torch.device("meta"):
        assert headrace.collect_state_dict_meta(torch.nn.Linear(3, 4, dtype=torch.float16))[1] == ("bias", "F16", (4,))
    headrace.save_safetensors_streaming(module.state_dict().items(), tmp_path / "m.safetensors", meta)
    read = safetensors.torch.load_file(tmp_path / "m.safetensors")
    assert all(torch.equal(read[name], tensor) for name, tensor in module.state_dict().items())


def test_tensors_that_dont_lie_in_one_piece(tmp_path):
    matrix = torch.arange(12.0).reshape(3, 4)
    headrace.save_safetensors_streaming([("t", matrix.t()), ("n", np.arange(6)[::2])], tmp_path / "m.safetensors",
                                        [("t", "F32", (4, 3)), ("n", "I64", (3,))])
    read = safetensors.torch.load_file(tmp_path / "m.safetensors")
    assert torch.equal(read["t"], matrix.t()) and read["n"].tolist() == [0, 2, 4]
