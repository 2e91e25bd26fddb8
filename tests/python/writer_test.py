"""Writer: tensors in any order, converted on the way, in shards, late, in the background."""

import json
import pickle
import threading

import numpy as np
import pytest
import safetensors.torch
import torch

import headrace


def test_commits_when_the_block_ends_and_not_when_it_fails(tmp_path):
    path = tmp_path / "m.safetensors"
    with headrace.Writer(path, [("b", torch.bfloat16, (2, 3)), ("a", "float32", [4])], metadata={"k": "v"}) as writer:
        writer.write("a", np.arange(4, dtype=np.float32))
        assert not path.exists()
        writer.write("b", torch.ones(2, 3, dtype=torch.bfloat16))
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == {"k": "v"}
        assert torch.equal(file.get_tensor("b"), torch.ones(2, 3, dtype=torch.bfloat16))
    with pytest.raises(ZeroDivisionError):
        with headrace.Writer(tmp_path / "n.safetensors", [("a", "F32", (1,))]) as writer:
            writer.write("a", np.zeros(1, np.float32))
            1 / 0
    assert list(tmp_path.iterdir()) == [path]


def test_given_up(tmp_path):
    writer = headrace.Writer(tmp_path / "m.safetensors", [("a", "U8", (1,))])
    writer.abandon()
    for call in (writer.commit, lambda: writer.write("a", b"1"), lambda: writer.declare("b", "U8", (1,))):
        with pytest.raises(headrace.InvalidArgumentError, match="given up"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_missing_tensors_are_named(tmp_path):
    with pytest.raises(headrace.InvalidArgumentError, match=r"incomplete: 'b' \(0 of 8 bytes\)") as caught:
        with headrace.Writer(tmp_path / "m.safetensors", {"a": ("F32", (1,)), "b": ("I64", (1,))}) as writer:
            writer.write("a", np.zeros(1, np.float32))
    assert caught.value.code == "invalid_argument"
    assert caught.value.file == str(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_refused(tmp_path):
    writer = headrace.Writer(tmp_path / "m.safetensors", [("a", "F32", (2, 2))])
    with pytest.raises(headrace.InvalidArgumentError, match=r"expected F32 \[2, 2\], found F64 \[2, 2\]"):
        writer.write("a", np.zeros((2, 2)))
    with pytest.raises(headrace.InvalidArgumentError, match=r"expected F32 \[2, 2\], found F32 \[4\]"):
        writer.write("a", torch.zeros(4))
    with pytest.raises(headrace.InvalidArgumentError, match="not declared"):
        writer.write("b", torch.zeros(4))
    with pytest.raises(headrace.InvalidArgumentError, match="wrong number of bytes"):
        writer.write("a", b"1234")
    writer.write_at("a", 8, b"12345678")
    with pytest.raises(headrace.InvalidArgumentError, match="written twice"):
        writer.write("a", torch.zeros(2, 2))
    with pytest.raises(headrace.InvalidArgumentError, match="past the tensor's end"):
        writer.write_at("a", 12, b"12345678")
    for tensors in ([("a", "F32", [2.7])], [("a", "F32", "23")], [("a", "F32", (1 << 64,))], [("a", "F32", (1,), "F3")],
                    [(1, "F32", (2,))], [("a", "F32", (2,)), ("a", "F32", (2,))], [("a", "F33", (2,))], [("a", "F32", (-1,))], ["a"],
                    [("a", "Q8_0", (32,))]):
        with pytest.raises(headrace.Error):
            headrace.Writer(tmp_path / "n.safetensors", tensors)
    with pytest.raises(headrace.InvalidArgumentError, match="nonfinite"):
        headrace.Writer(tmp_path / "n.safetensors", [], metadata={"a": "b"}, nonfinite="no")
    with pytest.raises(headrace.UnsupportedError, match="metadata 'a'"):
        headrace.Writer(tmp_path / "n.safetensors", [], metadata={"a": 3})
    for wrong in ({"header_reserve": -1}, {"header_reserve": "x"}, {"memory": -1}, {"memory": 1.5}, {"threads": -1},
                  {"to": 5}, {"temporary": "a\0b"}, {"temporary": "a/b"}, {"shard_size": 0}, {"shard_size": True}):
        with pytest.raises(headrace.InvalidArgumentError):
            headrace.Writer(tmp_path / "n.safetensors", [], **wrong)
    with pytest.raises(headrace.InvalidArgumentError, match="first_byte"):
        writer.write_at("a", -1, b"1")
    with pytest.raises(FileNotFoundError) as caught:
        headrace.Writer(tmp_path / "nowhere" / "m.safetensors", [])
    assert (caught.value.errno, caught.value.filename) == (2, str(tmp_path / "nowhere" / "m.safetensors"))
    assert isinstance(caught.value, headrace.IoError)


def test_errors_pass_between_processes(tmp_path):
    def raised(call):
        with pytest.raises(headrace.Error) as caught:
            call()
        return caught.value

    headrace.save_file({"w": np.zeros(3)}, tmp_path / "m.safetensors")
    checkpoint = headrace.open(tmp_path / "m.safetensors")
    for error in (raised(lambda: checkpoint["x"]), raised(lambda: checkpoint["w"][7]),
                  raised(lambda: headrace.open(tmp_path / "none")), raised(lambda: headrace.dtype_name("F33"))):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error) and str(copy) == str(error)
        fields = ("code", "problem", "file", "tensor", "offset", "expected", "found", "hint", "errno", "filename")
        assert all(getattr(copy, field, None) == getattr(error, field, None) for field in fields)


def test_an_existing_file_is_replaced_only_with_force(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(headrace.ConflictError) as caught:
        headrace.Writer(path, [])
    assert isinstance(caught.value, FileExistsError)
    assert "force=True" in caught.value.hint and "--" not in str(caught.value)
    writer = headrace.Writer(path, [("a", "U8", (1,))], force=True)
    assert path.read_bytes() == b"old"
    writer.write("a", b"1")
    assert writer.commit() == str(path)
    assert path.read_bytes() != b"old"


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F8_E4M3"])
def test_converts_on_the_way_as_torch_does(tmp_path, dtype):
    tensor = torch.randn(300, 70, generator=torch.Generator().manual_seed(1))
    with headrace.Writer(tmp_path / "m.safetensors", [("w", dtype, (300, 70), torch.float32)]) as writer:
        flat = tensor.numpy().tobytes()
        for at in range(0, len(flat), 1001):  # cut within numbers
            writer.write_at("w", at, flat[at:at + 1001])
    read = safetensors.torch.load_file(tmp_path / "m.safetensors")["w"]
    assert torch.equal(read.view(torch.uint8), tensor.to(read.dtype).view(torch.uint8))


def test_converts_to_blocks_as_convert_does(tmp_path):
    tensor = torch.randn(64, 512, generator=torch.Generator().manual_seed(1))
    headrace.save_file({"w": tensor}, tmp_path / "in.safetensors")
    headrace.convert(tmp_path / "in.safetensors", tmp_path / "expected.gguf", type="q4_K")
    with headrace.Writer(tmp_path / "made.gguf", [("w", "q4_K", (64, 512), "f32")], threads=2) as writer:
        writer.write("w", tensor)
    assert headrace.verify(tmp_path / "expected.gguf", tmp_path / "made.gguf").same(0)


def test_numbers_that_the_type_cant_hold(tmp_path):
    numbers = np.array([1, 1e9], np.float32)
    with pytest.raises(headrace.ValueConversionError, match="element 1 is too large for F16"):
        with headrace.Writer(tmp_path / "m.safetensors", [("w", "F16", (2,), "F32")]) as writer:
            writer.write("w", numbers)
    with headrace.Writer(tmp_path / "m.safetensors", [("w", "F16", (2,), "F32")], nonfinite="keep") as writer:
        writer.write("w", numbers)
    assert safetensors.torch.load_file(tmp_path / "m.safetensors")["w"].tolist() == [1, float("inf")]


def test_shards(tmp_path):
    tensors = {f"layer.{i}": torch.full((100,), float(i)) for i in range(5)}
    with headrace.Writer(tmp_path / "model.safetensors", tensors, shard_size=800) as writer:
        for name, tensor in reversed(tensors.items()):
            writer.write(name, tensor)
        names = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
        assert [file.rpartition("/")[2] for file in writer.files] == [*names, "model.safetensors.index.json"]
        assert writer.path.endswith(".index.json")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(tensors)
    for name, file in index["weight_map"].items():
        assert torch.equal(safetensors.torch.load_file(tmp_path / file)[name], tensors[name])


def test_late_tensors(tmp_path):
    writer = headrace.Writer(tmp_path / "m.safetensors", header_reserve=200)
    writer.declare("a", torch.float16, (2,))
    writer.declare("b", "BF16", [3], "F32")
    writer.write("b", torch.ones(3))
    writer.write("a", torch.ones(2, dtype=torch.float16))
    with pytest.raises(headrace.InvalidArgumentError, match="no room for another tensor"):
        writer.declare("c" * 100, "F32", (1,))
    writer.commit()
    assert set(safetensors.torch.load_file(tmp_path / "m.safetensors")) == {"a", "b"}
    with pytest.raises(headrace.UnsupportedError, match="single safetensors file"):
        headrace.Writer(tmp_path / "m.gguf").declare("a", "F32", (1,))


def test_commits_in_the_background(tmp_path):
    writer = headrace.Writer(tmp_path / "m.safetensors", [("a", "U8", (1,))])
    with pytest.raises(headrace.InvalidArgumentError, match="incomplete"):
        writer.commit_async()
    writer.write("a", b"1")
    assert writer.commit_async().result(timeout=60) == str(tmp_path / "m.safetensors")
    failing = headrace.Writer(tmp_path / "n.safetensors", [("a", "U8", (1,))])
    failing.write("a", b"1")
    (tmp_path / "n.safetensors").write_bytes(b"somebody's")
    with pytest.raises(headrace.ConflictError):
        failing.commit_async().result(timeout=60)
    assert (tmp_path / "n.safetensors").read_bytes() == b"somebody's"


def test_many_threads(tmp_path):
    tensors = {f"t{i}": torch.full((1000, i), float(i)) for i in range(1, 40)}
    writer = headrace.Writer(tmp_path / "m.safetensors", tensors)
    names = iter(list(tensors))
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                name = next(names, None)
            if name is None:
                return
            writer.write(name, tensors[name])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.commit()
    read = safetensors.torch.load_file(tmp_path / "m.safetensors")
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


def test_gguf_metadata_of_every_kind(tmp_path):
    import gguf

    pairs = {"general.architecture": "llama", "llama.block_count": 3, "llama.rope.freq_base": 0.5, "flag": True,
             "tokens": ["a", "é"], "scores": [0.5, 1.5], "ids": [1, 2, 3]}
    with headrace.Writer(tmp_path / "m.gguf", [("w", "Q8_0", (2, 64), "F32")], metadata=pairs) as writer:
        writer.write("w", np.ones((2, 64), np.float32))
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    assert {key: reader.get_field(key).contents() for key in pairs} == pairs
    assert reader.tensors[0].tensor_type.name == "Q8_0"
