"""Files that the real PyTorch writes read as torch.load reads them, to the bit."""

import collections
import io
import json
import struct
import zipfile

import pytest

pytest.importorskip("torch.serialization", reason="PyTorch isn't installed")
import torch

BOTH = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])

DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64,
    torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu,
]  # fmt: skip


def save(path, value, legacy=False, **options):
    torch.save(value, path, _use_new_zipfile_serialization=not legacy, **options)
    return path


def bits(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def random_of(dtype, *shape):
    count = int(torch.Size(shape).numel())
    generator = torch.Generator().manual_seed(count)
    if dtype is torch.bool:
        return torch.randint(0, 2, shape, generator=generator).bool()
    size = torch.empty(0, dtype=dtype).element_size()
    return torch.randint(0, 256, (count * size,), dtype=torch.uint8, generator=generator).view(dtype).reshape(shape)


def assert_same(found, expected):
    assert list(sorted(found)) == list(sorted(expected))
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape, name
        assert torch.equal(bits(found[name]), bits(tensor)), name


def flat(value, prefix=""):
    """What the names of nested tensors are to be."""
    if isinstance(value, torch.Tensor):
        return {prefix: value}
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    found = {}
    for key, entry in entries:
        found |= flat(entry, f"{prefix}.{key}" if prefix else str(key))
    return found


def names(headrace, path, *options):
    """In the order of the file."""
    result = headrace("inspect", path, "--json", "--tensors", *options)
    assert result.returncode == 0, result.stderr
    return [tensor["name"] for tensor in json.loads(result.stdout)["tensors"]]


@BOTH
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(read, tmp_path, dtype, legacy):
    tensors = {"matrix": random_of(dtype, 7, 5), "vector": random_of(dtype, 11), "scalar": random_of(dtype)}
    path = save(tmp_path / "model.pt", tensors, legacy)
    found = read(path)
    assert_same(found, tensors)
    if not (legacy and dtype in torch.storage._new_dtypes()):  # those torch writes, but fails to read
        assert_same(found, torch.load(path))


def test_pairs_of_f4(headrace, tmp_path):
    """torch counts the pairs, safetensors the numbers."""
    tensor = random_of(torch.uint8, 3, 4).view(torch.float4_e2m1fn_x2)
    path = save(tmp_path / "model.pt", {"a": tensor})
    out = tmp_path / "out.safetensors"
    result = headrace("convert", path, "-o", out)
    assert result.returncode == 0, result.stderr
    content = out.read_bytes()
    assert b'"F4"' in content and b"[3,8]" in content
    assert content.endswith(bytes(tensor.view(torch.uint8).reshape(-1).tolist()))


@BOTH
def test_views(read, tmp_path, legacy):
    matrix = torch.randn(40, 30)
    cube = torch.randn(4, 5, 6, 7).half()
    tensors = {
        "rows": matrix[3:9],
        "columns": matrix[:, 3:9],
        "every second": matrix[::2, 1::3],
        "column": matrix[:, 7],
        "transposed": matrix.t(),
        "transposed part": matrix[5:25, 2:20].t(),
        "permuted": cube.permute(2, 0, 3, 1),
        "channels last": torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last),
        "expanded rows": matrix[:1].expand(9, 30),
        "expanded columns": matrix[:, :1].expand(40, 9),
        "expanded scalar": torch.tensor(2.5).expand(3, 4),
        "windows": torch.arange(20.0).unfold(0, 5, 2),
        "diagonal": matrix.diagonal(),
        "one": matrix[3:4, 4:5],
        "scalar": matrix[3, 4],
        "no rows": matrix[:0],
        "with a dimension of 1": matrix[:, None, :],
        "bits": random_of(torch.int64, 6, 4)[:, ::2],
        "bytes": random_of(torch.uint8, 100)[3:90:7],
    }
    path = save(tmp_path / "model.pt", tensors, legacy)
    assert_same(read(path), torch.load(path))


@pytest.mark.parametrize("memory", ["16MiB", "256MiB"])
def test_large_views(read, tmp_path, memory):
    """Pieces begin and end anywhere in the rows of a transposed tensor."""
    matrix = random_of(torch.int16, 1500, 2100)
    path = save(tmp_path / "model.pt", {"t": matrix.t(), "cut": matrix[1:, 5:-9].t(), "plain": matrix})
    assert_same(read(path, "--memory", memory), torch.load(path))


@BOTH
def test_shared_storages(read, tmp_path, legacy):
    embedding = torch.randn(10, 4)
    tensors = {"head": embedding, "embedding": embedding, "last rows": embedding[7:], "another": embedding.clone()}
    path = save(tmp_path / "model.pt", tensors, legacy)
    assert_same(read(path), torch.load(path))


@BOTH
def test_nested(read, headrace, tmp_path, legacy):
    nested = {
        "b": {"weight": torch.randn(3), 7: torch.randn(2), "deep": {"er": {"est": torch.randn(1)}}},
        "a": [torch.randn(2), (torch.randn(3), {"x": torch.randn(4)}), 5, None, "text"],
        "lr": 0.1, "name": "model", "none": None, "flags": {"x": True, "y": {1, 2}}, ("odd", "key"): 3, 2.5: "float",
        "big": 2**70, "negative": -(2**60), "bytes": b"\0\1", "complex": 1 + 2j,
    }  # fmt: skip
    path = save(tmp_path / "model.pt", nested, legacy)
    assert_same(read(path), flat(nested))
    assert names(headrace, path) == list(flat(nested))


@BOTH
def test_a_module(read, headrace, tmp_path, legacy):
    """An OrderedDict with an attribute, "_metadata"; parameters and buffers."""
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(5, 6).bfloat16())
    path = save(tmp_path / "model.pt", module.state_dict(), legacy)
    assert_same(read(path), torch.load(path))
    assert names(headrace, path) == list(module.state_dict())


@BOTH
def test_parameters(read, tmp_path, legacy):
    plain, with_state = torch.nn.Parameter(torch.randn(3)), torch.nn.Parameter(torch.randn(4))
    with_state.note = "kept by torch"
    noted = torch.randn(5)
    noted.note = "kept, too"
    tensors = {"plain": plain, "with state": with_state, "noted": noted, "b": torch.nn.Buffer(torch.randn(2))}
    path = save(tmp_path / "model.pt", tensors, legacy)
    assert_same(read(path), {name: tensor.detach() for name, tensor in tensors.items()})


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@BOTH
def test_protocols(read, tmp_path, legacy, protocol):
    tensors = {
        "model": collections.OrderedDict((f"layer.{i}.weight", torch.randn(i, 3)) for i in range(300)),
        "arguments": {"bytes": b"x" * 300, "set": {1, 2}, "frozen": frozenset([1]), "array": bytearray(9), "n": 2**40},
    }
    path = save(tmp_path / "model.pt", tensors, legacy, pickle_protocol=protocol)
    assert_same(read(path), tensors["model"])


@BOTH
@pytest.mark.parametrize("value, name", [(torch.arange(6.0), "tensor"), ([torch.arange(3), torch.arange(4)], None)])
def test_roots_without_names(read, tmp_path, legacy, value, name):
    path = save(tmp_path / "model.pt", value, legacy)
    assert_same(read(path), {name: value} if name else flat(value))


@BOTH
def test_nothing_in_it(read, tmp_path, legacy):
    assert read(save(tmp_path / "model.pt", {}, legacy)) == {}
    assert read(save(tmp_path / "other.pt", {"state_dict": collections.OrderedDict(), "lr": 0.1}, legacy)) == {}


def lightning():
    """As a trainer's ModelCheckpoint saves it: weights, optimiser state, settings."""
    module = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    module(torch.randn(4, 8)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3, "global_step": 1200, "pytorch-lightning_version": "2.4.0",
        "state_dict": module.state_dict(),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": collections.Counter(current=3)}},
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": None, "kth_best": {}}},
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [], "hyper_parameters": {"lr": 1e-3, "device": torch.device("cpu"), "dtype": torch.float16},
        "size": torch.Size([3, 4]),
    }  # fmt: skip


@BOTH
def test_a_lightning_checkpoint(read, refused, headrace, tmp_path, legacy):
    checkpoint = lightning()
    path = save(tmp_path / "last.ckpt", checkpoint, legacy)
    error = refused(path)
    assert "several entries of the checkpoint hold tensors" in error
    assert "'state_dict'" in error and "'optimizer_states'" in error and "--torch-key state_dict" in error
    assert_same(read(path, "--torch-key", "state_dict"), checkpoint["state_dict"])
    assert_same(read(path, "--torch-key", "."), flat(checkpoint))
    state = checkpoint["optimizer_states"][0]["state"]
    assert_same(read(path, "--torch-key", "optimizer_states.0.state"), flat(state))
    assert_same(read(path, "--torch-key", "state_dict.0.weight"), {"0.weight": checkpoint["state_dict"]["0.weight"]})


@BOTH
def test_wrappers(read, refused, tmp_path, legacy):
    weights = {"a": torch.randn(2), "b.c": torch.randn(3)}
    for key in ["state_dict", "model", "module", "params_ema"]:
        path = save(tmp_path / f"{key}.pt", {"epoch": 1, key: weights, "best": {"loss": 0.5}}, legacy)
        assert_same(read(path), weights)
        assert_same(read(path, "--torch-key", "."), flat({key: weights}))
    # Not a wrapper's name, or a tensor of that name, or tensors beside it.
    assert_same(read(save(tmp_path / "e.pt", {"encoder": weights}, legacy)), flat({"encoder": weights}))
    assert_same(read(save(tmp_path / "t.pt", {"model": torch.ones(2)}, legacy)), {"model": torch.ones(2)})
    error = refused(save(tmp_path / "m.pt", {"model": weights, "step": torch.tensor(3)}, legacy))
    assert "'model', 'step'" in error
    error = refused(save(tmp_path / "n.pt", {"model": weights, "ema": weights}, legacy))
    assert "'model', 'ema'" in error


def test_keys_that_lead_nowhere(refused, tmp_path):
    path = save(tmp_path / "model.pt", {"model": {"a.b": {"c": torch.ones(1)}}, "ema": {"d": torch.ones(1)}, "lr": 1.0})
    error = refused(path, "--torch-key", "weights")
    assert "has no entry 'weights'" in error and "'model', 'ema'" in error
    error = refused(path, "--torch-key", "model.a")
    assert "has no entry 'model.a'" in error and "'a.b'" in error
    assert "holds no tensors" in refused(path, "--torch-key", "lr")


def test_a_key_with_dots(read, tmp_path):
    path = save(tmp_path / "model.pt", {"model": {"a.b": {"c": torch.ones(1)}}, "ema": {"d": torch.ones(1)}})
    assert_same(read(path, "--torch-key", "model.a.b"), {"c": torch.ones(1)})
    assert_same(read(path, "--torch-key", "model"), {"a.b.c": torch.ones(1)})


@BOTH
def test_names_that_meet(refused, tmp_path, legacy):
    error = refused(save(tmp_path / "model.pt", {1: torch.ones(1), "1": torch.ones(2)}, legacy))
    assert "tensor '1'" in error and "two tensors have this name" in error
    error = refused(save(tmp_path / "other.pt", {"a": {"b": torch.ones(1)}, "a.b": torch.ones(2)}, legacy))
    assert "tensor 'a.b'" in error and "two tensors have this name" in error
    error = refused(save(tmp_path / "odd.pt", {"a": {(1, 2): torch.ones(1)}}, legacy))
    assert "neither a string nor an integer (found a tuple)" in error


def quantised():
    return torch.quantize_per_tensor(torch.randn(4), 0.1, 0, torch.qint8)


OTHER_TENSORS = {
    "quantised": (quantised, "torch._utils._rebuild_qtensor", "dequantize()"),
    "sparse": (lambda: torch.eye(3).to_sparse(), "torch._utils._rebuild_sparse_tensor", "to_dense()"),
    "sparse rows": (lambda: torch.eye(3).to_sparse_csr(), "torch._utils._rebuild_sparse_tensor", "to_dense()"),
    "meta": (lambda: torch.empty(3, device="meta"), "torch._utils._rebuild_meta_tensor_no_storage", "no numbers"),
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(1)]), "_rebuild_nested_tensor", "nested tensors"),
    "complex128": (lambda: torch.ones(2, dtype=torch.complex128), "complex128", "another type"),
    "complex32": (lambda: torch.ones(2, dtype=torch.complex32), "complex32", "another type"),
    "conjugated": (lambda: torch.ones(2, dtype=torch.complex64).conj(), "'conj'", "resolve_conj()"),
    "negated": (lambda: torch.ones(2, dtype=torch.complex64).conj().imag, "'neg'", "resolve_neg()"),
}


@BOTH
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", OTHER_TENSORS)
def test_other_tensors_are_refused_by_name(refused, tmp_path, legacy, kind):
    make, what, hint = OTHER_TENSORS[kind]
    error = refused(save(tmp_path / "model.pt", {"a": make()}, legacy))
    assert what in error and hint in error


@BOTH
def test_what_is_not_asked_for_may_be_anything(read, tmp_path, legacy):
    value = {"model": {"a": torch.ones(2)}, "state": {"z": torch.ones(2, dtype=torch.complex128)}}
    path = save(tmp_path / "model.pt", value, legacy)
    assert_same(read(path, "--torch-key", "model"), value["model"])


class Own:
    """A class of the one who trained the model."""


@BOTH
def test_own_classes_are_refused_by_name(refused, tmp_path, legacy):
    error = refused(save(tmp_path / "model.pt", {"a": torch.ones(1), "settings": Own()}, legacy))
    assert f"the pickle asks for {Own.__module__}.Own, which Headrace doesn't run" in error
    error = refused(save(tmp_path / "whole.pt", torch.nn.Linear(2, 2), legacy))
    assert "torch.nn.modules.linear.Linear" in error and "state_dict" in error


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_refused_by_name(refused, tmp_path):
    path = tmp_path / "script.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), path)
    assert "TorchScript" in refused(path)


def repack(path, change=None, method=zipfile.ZIP_STORED):
    """The archive packed anew; `change`: {end of an entry's name: its new bytes, or None to leave it out}."""
    change = change or {}
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as old, zipfile.ZipFile(path, "w", method) as new:
        for name in old.namelist():
            end = next((end for end in change if name.endswith(end)), None)
            content = old.read(name) if end is None else change[end]
            if content is not None:
                new.writestr(name, content)
    return path


def test_deflated_archives(read, tmp_path):
    tensors = {"a": torch.arange(100_000), "t": torch.randn(300, 200).t(), "same": None}
    tensors["same"] = tensors["a"]
    path = repack(save(tmp_path / "model.pt", tensors), method=zipfile.ZIP_DEFLATED)
    assert_same(read(path), tensors)


def test_byte_order(read, refused, tmp_path):
    path = save(tmp_path / "model.pt", {"a": torch.ones(3)})
    assert "big-endian" in refused(repack(path, {"byteorder": b"big"}))
    assert "byteorder is unknown" in refused(repack(path, {"byteorder": b"middle"}))
    assert_same(read(repack(path, {"byteorder": None})), {"a": torch.ones(3)})


def test_storages_must_be_there_and_large_enough(refused, tmp_path):
    path = save(tmp_path / "model.pt", {"a": torch.ones(3)})
    assert "tensor 'a'" in (error := refused(repack(path, {"data/0": b"\0" * 11}))) and "storage is too short" in error
    path = save(tmp_path / "model.pt", {"a": torch.ones(3)})
    assert "storage isn't in the archive" in refused(repack(path, {"data/0": None}))


def test_a_changed_storage_is_noticed(headrace, tmp_path):
    path = save(tmp_path / "model.pt", {"a": torch.full((1000,), 1.25)})
    content = bytearray(path.read_bytes())
    content[content.index(b"\0\0\xa0\x3f" * 8) + 2] ^= 1
    path.write_bytes(content)
    out = tmp_path / "out.safetensors"
    result = headrace("convert", path, "-o", out)
    assert result.returncode == 1 and "checksum" in result.stderr and not out.exists()


@BOTH
def test_to_gguf_and_verified(headrace, tmp_path, legacy):
    path = save(tmp_path / "model.pt", {"a": torch.randn(64, 32).t(), "b": torch.randn(8)}, legacy)
    out = tmp_path / "out.gguf"
    result = headrace("convert", path, "-o", out)
    assert result.returncode == 0, result.stderr
    result = headrace("verify", path, out)
    assert result.returncode == 0, result.stdout + result.stderr


def test_memory_is_told(refused, tmp_path):
    path = save(tmp_path / "model.pt", {f"layer.{i}": torch.ones(1) for i in range(2000)})
    assert "--memory" in refused(path, "--memory", "1MiB")


def text(content):
    """As Python 2 pickles a str: bytes."""
    return b"U" + bytes([len(content)]) + content


def tensor_of_python_2(key, count, size, stride):
    storage = b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(key) + text(b"cpu") + b"K" + bytes([count])
    numbers = [b"(" + b"".join(b"K" + bytes([n]) for n in numbers) + b"t" for numbers in (size, stride)]
    hooks = b"ccollections\nOrderedDict\n]\x85R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"NtQK\0" + b"".join(numbers) + b"\x89" + hooks + b"tR"


def test_legacy_files_of_python_2(read, tmp_path):
    """Strings of bytes, and an OrderedDict made of a list of lists."""
    start = io.BytesIO()
    torch.save({}, start, _use_new_zipfile_serialization=False)
    start = start.getvalue()[: -len(b"\x80\2}q\0.\x80\2]q\0.")]  # without the dict and the storages' list
    pairs = b"".join(
        b"](" + text(name) + tensor + b"e"
        for name, tensor in {
            b"weight": tensor_of_python_2(b"101", 4, (2, 2), (2, 1)),
            b"bias": tensor_of_python_2(b"102", 2, (2,), (1,)),
        }.items()
    )
    root = b"\x80\2ccollections\nOrderedDict\n](" + pairs + b"e\x85R."
    storages = struct.pack("<q2fq4f", 2, 5, 6, 4, 1, 2, 3, 4)
    path = tmp_path / "old.pth"
    path.write_bytes(start + root + b"\x80\2](" + text(b"102") + text(b"101") + b"e." + storages)
    expected = {"weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "bias": torch.tensor([5.0, 6.0])}
    assert_same(torch.load(path), expected)
    assert_same(read(path), expected)
