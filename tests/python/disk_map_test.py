"""headrace.DiskMap and load_state_dict: tensors by name, read when they are asked for."""

import gc
import threading

import numpy as np
import pytest
import torch
from converting import command, language_model
from offloading import mapped_bytes
from reading import RangeServer, random_bytes, run_python, write_safetensors

import headrace


@pytest.fixture
def state():
    torch.manual_seed(1)
    return {"a.weight": torch.randn(8, 16), "a.bias": torch.randn(8).bfloat16(), "steps": torch.arange(5),
            "flags": torch.tensor([True, False]), "empty": torch.empty(0, 3)}


@pytest.fixture
def file(tmp_path, state):
    headrace.save_file(state, tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def assert_same(tensor, expected):
    assert tensor.dtype == expected.dtype and tensor.shape == expected.shape
    assert torch.equal(tensor, expected)


def test_a_mapping_that_reads_what_is_asked_for(file, state):
    disk = headrace.DiskMap(file)
    assert set(disk) == set(disk.keys()) == set(state) and len(disk) == 5
    assert "a.weight" in disk and "nothing" not in disk and 3 not in disk
    assert disk.about("a.bias") == ("BF16", (8,), 16)
    assert disk.statistics.reads == disk.statistics.bytes_read == 0
    for name, tensor in state.items():
        assert_same(disk[name], tensor)
    assert disk.statistics.reads == 5 and disk.statistics.bytes_read == sum(t.nbytes for t in state.values())
    first = disk["a.weight"]
    first.zero_()
    assert_same(disk["a.weight"], state["a.weight"])
    assert disk.get("nothing") is None and "m.safetensors" in repr(disk)


def test_large_tensors_are_the_files_pages_and_their_holders_own(tmp_path):
    whole = torch.arange(2 << 20, dtype=torch.int16)
    headrace.save_file({"a": whole, "b": whole + 1, "c": whole + 2}, tmp_path / "m.safetensors")
    disk = headrace.DiskMap(tmp_path / "m.safetensors")
    beside = disk["b"]
    for _ in range(3):
        first, second = disk["a"], disk["a"]
        assert torch.equal(first, whole) and torch.equal(second, whole)
        first.zero_()
        assert torch.equal(second, whole) and torch.equal(disk["a"], whole) and torch.equal(beside, whole + 1)
        second.fill_(7)
        del first, second
    kept = disk["c"]
    del disk
    gc.collect()
    assert torch.equal(kept, whole + 2)
    assert torch.equal(headrace.DiskMap(tmp_path / "m.safetensors")["a"], whole)


def test_what_was_let_go_of_stays_mapped_within_a_limit(tmp_path):
    size = 4 << 20
    headrace.save_file({f"w{i}": torch.full((size,), i, dtype=torch.uint8) for i in range(16)}, tmp_path / "m.safetensors")
    disk, most = headrace.DiskMap(tmp_path / "m.safetensors", memory=16 << 20), 0
    for _ in range(3):
        for name in disk:
            tensor = disk[name]
            assert torch.equal(tensor, torch.full((size,), int(name[1:]), dtype=torch.uint8))
            tensor.zero_()
            del tensor
            most = max(most, mapped_bytes(tmp_path / "m.safetensors"))
    assert size <= most <= 32 << 20
    disk.release(disk)
    assert mapped_bytes(tmp_path / "m.safetensors") <= 1 << 20


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, "f32"])
def test_numbers_are_cast_on_the_way(file, state, dtype):
    disk = headrace.DiskMap([str(file)], "cpu", dtype)
    wanted = torch.float32 if dtype == "f32" else dtype
    assert torch.equal(disk["a.weight"].view(torch.uint8), state["a.weight"].to(wanted).view(torch.uint8))
    assert disk["a.bias"].dtype == wanted
    assert_same(disk["steps"], state["steps"])
    assert_same(disk["flags"], state["flags"])


def test_types_of_blocks(tmp_path):
    plain = language_model(tmp_path)
    command("convert", plain, "-o", tmp_path / "q.gguf", "--type", "q4_k")
    name = "blk.0.attn_q.weight"
    checkpoint = headrace.open(tmp_path / "q.gguf", framework="pt")
    rows = headrace.DiskMap(tmp_path / "q.gguf")[name]
    assert rows.dtype == torch.uint8 and torch.equal(rows, checkpoint[name].raw())
    decoded = headrace.DiskMap(tmp_path / "q.gguf", torch_dtype=torch.bfloat16)[name]
    assert_same(decoded, checkpoint[name].torch(dtype="F32").bfloat16())
    into = torch.empty(256, 256, dtype=torch.float16)
    headrace.DiskMap(tmp_path / "q.gguf").read_into(name, into)
    assert_same(into, checkpoint[name].torch(dtype="F32").half())


def test_read_into(file, state):
    disk = headrace.DiskMap(file)
    strided = torch.empty(16, 8).t()
    disk.read_into("a.weight", strided)
    assert_same(strided.contiguous(), state["a.weight"])
    numbers = torch.empty(5, dtype=torch.int32)
    disk.read_into("steps", numbers)
    assert numbers.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(headrace.InvalidArgumentError, match="another shape"):
        disk.read_into("a.weight", torch.empty(16, 8))


def test_a_converter_renames(file, state):
    def convert(given):
        assert given["steps"] == "steps"
        return {"layer.w": given["a.weight"], "tied": given["a.weight"], "steps": given.pop("steps")}

    disk = headrace.DiskMap(file, torch_dtype=torch.bfloat16, state_dict_converter=convert, buffer_size=10)
    assert list(disk) == ["layer.w", "tied", "steps"] and "a.weight" not in disk
    assert_same(disk["layer.w"], state["a.weight"].bfloat16())
    assert_same(disk["tied"], disk["layer.w"])
    disk.prefetch(disk)
    disk.release(["tied"], page_cache=True)


@pytest.mark.parametrize("convert", [
    lambda state: {"x": torch.cat([state["a.weight"], state["a.bias"]])},
    lambda state: {"x": state["a.weight"].t()},
    lambda state: {"x": state["a.weight"][:2]},
    lambda state: {"x": state["a.weight"] * 2},
])  # fmt: skip
def test_a_converter_that_computes(file, convert):
    with pytest.raises(headrace.UnsupportedError, match="computes with tensors.*convert the checkpoint first"):
        headrace.DiskMap(file, state_dict_converter=convert)


def test_converters_that_are_wrong(file):
    with pytest.raises(headrace.InvalidArgumentError, match="isn't there.*nothing"):
        headrace.DiskMap(file, state_dict_converter=lambda state: {"x": state["nothing"]})
    with pytest.raises(headrace.InvalidArgumentError, match="no state dict"):
        headrace.DiskMap(file, state_dict_converter=list)
    with pytest.raises(headrace.InvalidArgumentError, match="state_dict_converter"):
        headrace.DiskMap(file, state_dict_converter=3)


def test_several_files(file, state, tmp_path):
    headrace.save_file({"b": torch.ones(3)}, tmp_path / "b.safetensors")
    disk = headrace.DiskMap([file, tmp_path / "b.safetensors"])
    assert len(disk) == 6 and disk["b"].tolist() == [1, 1, 1] and torch.equal(disk["a.weight"], state["a.weight"])
    with pytest.raises(headrace.ConflictError, match="'b'"):
        headrace.DiskMap([tmp_path / "b.safetensors", tmp_path / "b.safetensors"])
    with pytest.raises(FileNotFoundError):
        headrace.DiskMap([file, tmp_path / "c.safetensors"])


def test_names_that_are_not_there(file):
    disk = headrace.DiskMap(file)
    for ask in (lambda: disk["a.wieght"], lambda: disk.prefetch(["a.wieght"]), lambda: disk.about("a.wieght")):
        with pytest.raises(KeyError, match="did you mean 'a.weight'"):
            ask()
    with pytest.raises(TypeError):
        headrace.DiskMap(file, colour="red")
    with pytest.raises(headrace.InvalidArgumentError):
        headrace.DiskMap([])


def test_a_number_that_the_type_has_not(tmp_path):
    headrace.save_file({"w": torch.full((4,), 1e30)}, tmp_path / "m.safetensors")
    with pytest.raises(headrace.ValueConversionError, match="'w'"):
        headrace.DiskMap(tmp_path / "m.safetensors", torch_dtype=torch.float16)["w"]
    assert headrace.DiskMap(tmp_path / "m.safetensors", torch_dtype=torch.float16, nonfinite="keep")["w"].isinf().all()


def test_a_file_that_is_cut_or_changed_meanwhile(tmp_path):
    def saved(name):
        return write_safetensors(tmp_path / name, {"w": ("F32", [64, 64], random_bytes("F32", 4096))})

    cut, changed, replaced = (saved(name) for name in ("cut", "changed", "replaced"))
    maps = [headrace.DiskMap(path) for path in (cut, changed, replaced)]
    cut.write_bytes(cut.read_bytes()[:8000])
    with open(changed, "r+b") as file:
        file.seek(9000)
        file.write(b"other")
    saved("new").rename(replaced)
    for disk, path in zip(maps, (cut, changed, replaced)):
        with pytest.raises(headrace.Error) as raised:
            disk["w"]
        assert isinstance(raised.value, headrace.IoError | headrace.FormatError) and path.name in str(raised.value)
    assert headrace.DiskMap(replaced)["w"].shape == (64, 64)


def test_threads(file, state):
    disk = headrace.DiskMap(file, torch_dtype=torch.bfloat16)
    wrong = []

    def read():
        for _ in range(100):
            for name in ("a.weight", "a.bias"):
                if not torch.equal(disk[name], state[name].bfloat16()):
                    wrong.append(name)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and disk.statistics.reads == 800


def test_from_a_server(tmp_path):
    tensors = {f"w{i}": ("F32", [512, 1024], random_bytes("F32", 512 << 10, seed=i)) for i in range(3)}
    with RangeServer(write_safetensors(tmp_path / "m", tensors)) as server:
        disk = headrace.DiskMap(server.url)
        assert disk.statistics.bytes_read == 0
        disk.prefetch(["w0", "w2"])
        for name, (_, _, data) in tensors.items():
            assert disk[name].numpy().tobytes() == data
        assert sum(end - first for first, end in server.ranges) >= 6 << 20
        disk.release(tensors)
        assert disk.statistics.cached_bytes == 0 and disk.statistics.prefetched == 2


def test_load_state_dict(file, state, tmp_path):
    loaded = headrace.load_state_dict(file)
    assert set(loaded) == set(state)
    for name, tensor in loaded.items():
        assert_same(tensor, state[name])
    headrace.save_file({"b": torch.ones(3)}, tmp_path / "b.safetensors")
    both = headrace.load_state_dict([file, tmp_path / "b.safetensors"], torch_dtype=torch.float16)
    assert len(both) == 6 and both["a.weight"].dtype == both["b"].dtype == torch.float16
    with pytest.raises(headrace.ConflictError, match="'b'"):
        headrace.load_state_dict([tmp_path / "b.safetensors"] * 2)
    torch.save({"state_dict": state}, tmp_path / "m.pt")
    assert_same(headrace.load_state_dict(tmp_path / "m.pt")["a.bias"], state["a.bias"])


def test_without_torch(file):
    program = """
import sys, headrace
disk = headrace.DiskMap(sys.argv[1])
try:
    disk["a.weight"]
except headrace.UnsupportedError as error:
    print(len(disk), error)
"""
    assert "5" in run_python(program, file, without=["torch"])


def test_types_that_torch_has_not(tmp_path):
    path = write_safetensors(tmp_path / "m", {"w": ("F6_E2M3", [2, 24], random_bytes("F6_E2M3", 48))})
    with pytest.raises(headrace.UnsupportedError, match="F6_E2M3"):
        headrace.DiskMap(path)["w"]
    wide = headrace.DiskMap(path, torch_dtype="f32")["w"]
    assert np.array_equal(wide.numpy(), headrace.open(path)["w"].numpy(dtype="F32"))
