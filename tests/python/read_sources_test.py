"""headrace.open: every kind of source, the mapping that it gives, and its errors."""

import collections.abc
import json
import os
import pathlib
import pickle
import subprocess
import sys

import headrace
import numpy as np
import pytest
import safetensors.numpy
import torch
from reading import RangeServer, as_bytes, write_safetensors

TFJS = pathlib.Path(__file__).parent.parent / "data/golden/tfjs/crafted"


@pytest.fixture
def model(tmp_path):
    tensors = {"b": np.arange(12, dtype=np.float32).reshape(3, 4), "a": np.arange(5),
               "layer.weight": np.ones(2, np.float16)}
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors", metadata={"made": "here"})
    return tmp_path / "model.safetensors"


def test_mapping(model):
    checkpoint = headrace.open(model)
    assert isinstance(checkpoint, collections.abc.Mapping) and len(checkpoint) == 3
    assert set(checkpoint) == set(checkpoint.keys()) == {"a", "b", "layer.weight"}
    assert [name for name, tensor in checkpoint.items() if tensor.name != name] == []
    assert sorted(tensor.dtype for tensor in checkpoint.values()) == ["F16", "F32", "I64"]
    assert "a" in checkpoint and "c" not in checkpoint and 3 not in checkpoint and None not in checkpoint
    assert checkpoint.get("c") is None and checkpoint.get("c", 5) == 5 and checkpoint.get("a").shape == (5,)
    assert checkpoint.metadata == {"made": "here"} and checkpoint.format == "safetensors"
    assert checkpoint.location == str(model) and checkpoint.files == [str(model)]
    assert checkpoint.nbytes == 48 + 40 + 4 and checkpoint == checkpoint and checkpoint != headrace.open(model)
    assert "safetensors, 3 tensors" in repr(checkpoint) and "F32 [3, 4]" in repr(checkpoint["b"])
    assert len(checkpoint["b"]) == 3


def test_a_missing_name_suggests_others(model):
    with pytest.raises(KeyError) as caught:
        headrace.open(model)["layer.wieght"]
    error = caught.value
    assert isinstance(error, headrace.Error) and error.tensor == "layer.wieght" and error.file == str(model)
    assert error.hint == "did you mean 'layer.weight'?" and str(error).endswith(error.hint)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    with pytest.raises(headrace.MissingTensorError):
        headrace.open(model)[5]


def test_closing(model):
    with headrace.open(model) as checkpoint:
        tensor = checkpoint["a"]
    with pytest.raises(headrace.InvalidArgumentError, match="closed"):
        checkpoint["a"]
    assert "closed" in repr(checkpoint)
    assert tensor.numpy().tolist() == [0, 1, 2, 3, 4]  # it keeps what it needs open
    checkpoint.close()


@pytest.mark.parametrize("kind", [str, pathlib.Path, os.fsencode])
def test_kinds_of_paths(model, kind):
    assert len(headrace.open(kind(model))) == 3


def test_errors_have_fields(tmp_path, model):
    with pytest.raises(headrace.IoError) as caught:
        headrace.open(tmp_path / "nothing")
    assert caught.value.code == "io" and isinstance(caught.value, OSError) and caught.value.file.endswith("nothing")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(model.read_bytes()[:-3])
    with pytest.raises(headrace.FormatError) as caught:
        headrace.open(cut)
    assert caught.value.file == str(cut)
    with pytest.raises(headrace.BudgetError):
        headrace.open(model, memory=10)
    assert len(headrace.open(model, memory="1MiB")) == 3
    with pytest.raises(headrace.InvalidArgumentError):
        headrace.open(model, memory="much")
    with pytest.raises(TypeError):
        headrace.open(5.0)
    checkpoint = headrace.open(model)
    with open(model, "r+b") as file:
        file.truncate(200)
    tensor = max(checkpoint.values(), key=lambda each: each.nbytes if each.name == "b" else 0)
    with pytest.raises(headrace.IoError, match="ends too soon") as caught:
        [each.numpy() for each in checkpoint.values()]
    assert caught.value.offset is not None and tensor.name == "b"


def test_shards_and_folders(tmp_path):
    write_safetensors(tmp_path / "model-00001-of-00002.safetensors", {"a": ("F32", [2], np.float32([1, 2]).tobytes())})
    write_safetensors(tmp_path / "model-00002-of-00002.safetensors", {"b": ("F32", [1], np.float32([3]).tobytes())})
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors",
                                                                "b": "model-00002-of-00002.safetensors"}}))
    for location in (index, tmp_path):
        checkpoint = headrace.open(location)
        assert len(checkpoint.files) == 2
        assert checkpoint["a"].numpy().tolist() == [1, 2] and checkpoint["b"].torch().tolist() == [3]
        assert headrace.load_file(location, framework="np")["b"].tolist() == [3]


def test_torch_files(tmp_path):
    weights = {"w": torch.randn(5, 6).t(), "b": torch.randn(3).bfloat16()}
    torch.save({"ema": weights, "step": 3}, tmp_path / "m.pt")
    checkpoint = headrace.open(tmp_path / "m.pt", torch_key="ema")
    assert checkpoint.format == "torch" and torch.equal(checkpoint["w"].torch(), weights["w"])
    assert torch.equal(checkpoint["b"].torch(), weights["b"])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    arrays = {"plain": np.arange(20.0).reshape(4, 5), "turned": np.asfortranarray(np.arange(12).reshape(3, 4)),
              "other": np.arange(5, dtype=">i4")}
    save(tmp_path / "m.npz", **arrays)
    checkpoint = headrace.open(tmp_path / "m.npz")
    for loaded in ({name: tensor.numpy() for name, tensor in checkpoint.items()},
                   headrace.numpy.load_file(tmp_path / "m.npz")):
        assert {name: array.tolist() for name, array in loaded.items()} == {k: a.tolist() for k, a in arrays.items()}


def test_tensorflow_js():
    checkpoint = headrace.open(TFJS / "model.json")
    labels = checkpoint["labels"]
    assert labels.dtype == "STRING" and labels.shape == (2, 3)
    array = labels.numpy()
    assert array.shape == (2, 3) and all(isinstance(text, bytes) for text in array.flat)
    packed = b"".join(len(text).to_bytes(4, "little") + text for text in array.flat)
    assert packed == labels.raw().tobytes() and labels[1, 2] == array[1, 2]
    assert checkpoint["conv/q8"].numpy().dtype == np.float32
    assert checkpoint["conv/q8"][1:2, :, ::5].shape == (1, 3, 4, 24)
    assert np.array_equal(checkpoint["conv/q8"].numpy()[..., 3], checkpoint["conv/q8"][..., 3])
    with pytest.raises(headrace.UnsupportedError) as caught:
        labels.torch()
    assert caught.value.hint == ".raw() gives its bytes"


def test_standard_input(model):
    program = "import headrace; c = headrace.open('-'); print(c['b'].numpy().tolist() if 'b' in c else None)"
    with open(model, "rb") as file:
        cat = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
        done = subprocess.run([sys.executable, "-c", program], stdin=cat.stdout, capture_output=True, text=True,
                              env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
        cat.stdout.close()
        cat.wait()
    assert done.stdout.strip() in (str(np.arange(12.0).reshape(3, 4).tolist()),), done.stderr


def test_urls(model):
    with RangeServer(model) as server:
        checkpoint = headrace.open(server.url, headers={"Authorization": "Bearer x"}, connections=2)
        assert checkpoint["b"].numpy().tolist() == np.arange(12.0).reshape(3, 4).tolist()
        assert headrace.load_file(server.url, framework="np")["a"].tolist() == [0, 1, 2, 3, 4]


def test_names_that_are_no_utf8(tmp_path):
    import gguf  # its writer takes any bytes, safetensors' doesn't

    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "test")
    writer.add_tensor("größe", np.ones(3, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    data = (tmp_path / "m.gguf").read_bytes().replace("größe".encode(), b"gr\xff\xfe\xfd\xfce")
    (tmp_path / "m.gguf").write_bytes(data)
    checkpoint = headrace.open(tmp_path / "m.gguf")
    name, = checkpoint
    assert as_bytes(checkpoint[name].numpy()) == as_bytes(np.ones(3, np.float32)) and name in checkpoint
