"""headrace.torch.load_into: a module filled from a checkpoint."""

import os
import subprocess
import sys

import pytest
import torch
from converting import weights as files
from reading import RangeServer

import headrace
import headrace.torch


class Model(torch.nn.Module):
    def __init__(self, width=64, **more):
        super().__init__()
        self.embed = torch.nn.Embedding(10, width, **more)
        self.norm = torch.nn.BatchNorm1d(width, **more)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(width, width, **more) for _ in range(3))
        self.head = torch.nn.Linear(width, 10, bias=False, **more)
        self.head.weight = self.embed.weight
        self.register_buffer("scratch", torch.zeros(2, **more), persistent=False)


def on_meta(**more):
    with torch.device("meta"):
        return Model(**more)


@pytest.fixture
def saved(tmp_path):
    """A module with random numbers, and where it is saved: tied weights once."""
    torch.manual_seed(1)
    model = Model()
    model.norm.running_mean.normal_()
    model.norm.num_batches_tracked.fill_(7)
    return model, headrace.torch.save_streaming(model, tmp_path / "m.safetensors")


def assert_same(model, other):
    state, expected = model.state_dict(), other.state_dict()
    assert list(state) == list(expected)
    for name, tensor in state.items():
        assert tensor.dtype == expected[name].dtype and torch.equal(tensor, expected[name]), name
    assert model.head.weight is model.embed.weight


def test_a_module_on_meta(saved):
    model = on_meta()
    model.layers[0].weight.requires_grad_(False)
    model.layers[1].weight.flavour = "sweet"
    result = headrace.torch.load_into(model, saved[1])
    assert result.missing_keys == result.unexpected_keys == [] and "All keys matched" in repr(result)
    assert_same(model, saved[0])
    assert isinstance(model.embed.weight, torch.nn.Parameter) and model.embed.weight.requires_grad
    assert not model.layers[0].weight.requires_grad and model.layers[1].weight.flavour == "sweet"
    assert not isinstance(model.norm.running_mean, torch.nn.Parameter) and model.scratch.is_meta
    model.layers[0](torch.ones(1, 64)).sum().backward()
    assert model.layers[0].bias.grad is not None and model.layers[0].weight.grad is None


def test_a_module_that_is_real_is_filled_in_place(saved):
    model = Model().to(torch.bfloat16)
    before = {name: (tensor, tensor.data_ptr()) for name, tensor in model.named_parameters()}
    headrace.torch.load_into(model, saved[1])
    for name, tensor in model.named_parameters():
        assert before[name][0] is tensor and before[name][1] == tensor.data_ptr() and tensor.requires_grad
    assert_same(model, saved[0].to(torch.bfloat16))


def test_assign_replaces(saved):
    model = Model().to(torch.bfloat16)
    old = model.embed.weight
    headrace.torch.load_into(model, saved[1], assign=True)
    assert model.embed.weight is not old
    assert_same(model, saved[0])


@pytest.mark.parametrize("dtype", ["bf16", torch.float16])
def test_another_type(saved, dtype):
    model = on_meta()
    headrace.torch.load_into(model, saved[1], dtype=dtype)
    kind = torch.bfloat16 if dtype == "bf16" else dtype
    assert model.norm.num_batches_tracked.dtype == torch.int64
    assert_same(model, saved[0].to(kind))


def test_blocks_are_decoded(saved, tmp_path):
    headrace.convert(saved[1], tmp_path / "m.gguf", type="q8_0", drop="num_batches")
    decoded = {name: tensor.torch() for name, tensor in headrace.open(tmp_path / "m.gguf").items()}
    for model in (on_meta(dtype=torch.bfloat16), Model().to(torch.bfloat16)):
        headrace.torch.load_into(model, tmp_path / "m.gguf", strict=False)
        assert model.layers[2].weight.dtype == torch.bfloat16
        assert torch.equal(model.layers[2].weight, decoded["layers.2.weight"].to(torch.bfloat16))


def test_names_and_shapes_are_all_said_before_a_tensor_is_read(saved):
    model = Model(width=32)
    model.extra = torch.nn.Linear(2, 2)
    del model.norm
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for strict in (True, False):
        with pytest.raises(headrace.InvalidArgumentError) as raised:
            headrace.torch.load_into(model, saved[1], strict=strict)
        error = raised.value
        assert error.missing_keys == ["extra.weight", "extra.bias"]
        assert len(error.unexpected_keys) == 5 and "norm.weight" in error.unexpected_keys
        assert len(error.mismatched) == 7 and "embed.weight: [10, 64] in the checkpoint, [10, 32]" in error.found
        assert ("2 missing: extra.weight, extra.bias" in error.found) == strict
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_not_strict_returns_what_torch_does(saved):
    model = on_meta()
    model.extra = torch.nn.Linear(2, 2, device="meta")
    del model.norm
    result = headrace.torch.load_into(model, saved[1], strict=False)
    missing, unexpected = result
    theirs = model.load_state_dict(headrace.load_file(saved[1]), strict=False, assign=True)
    assert missing == [name for name in theirs.missing_keys if name != "head.weight"]
    assert sorted(unexpected) == sorted(theirs.unexpected_keys) and model.extra.weight.is_meta


@pytest.mark.parametrize("name", ["embed.weight", "head.weight", "both"])
def test_tied_weights_need_one_of_their_names(saved, tmp_path, name):
    state = {key: value.clone() for key, value in saved[0].state_dict().items()}
    for other in {"embed.weight", "head.weight"} - {name} if name != "both" else ():
        del state[other]
    headrace.save_file(state, tmp_path / "other.safetensors")
    model = on_meta()
    assert headrace.torch.load_into(model, tmp_path / "other.safetensors") == ([], [])
    assert_same(model, saved[0])


def test_options_are_loads(saved):
    model, seen = on_meta(), []
    wrapped = headrace.torch.save_streaming({"model." + k: v for k, v in saved[0].state_dict().items()},
                                            saved[1] + ".2.safetensors")
    headrace.torch.load_into(model, wrapped, strip_prefix="model.", memory="64MiB", threads=1, progress=seen.append,
                             connections=2)
    assert_same(model, saved[0])
    assert seen[-1].bytes_done == seen[-1].bytes_total
    for wrong in ("framework", "keep_host_copy", "colour"):
        with pytest.raises(TypeError, match=wrong):
            headrace.torch.load_into(model, wrapped, **{wrong: None})


def test_an_exception_in_the_middle(saved):
    def fail(progress):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        headrace.torch.load_into(on_meta(), saved[1], progress=fail)


def test_from_a_server(saved):
    model = on_meta()
    with open(saved[1], "rb") as file, RangeServer(type("Path", (), {"read_bytes": file.read})) as server:
        headrace.torch.load_into(model, server.url)
    assert_same(model, saved[0])


def test_no_second_copy(tmp_path):
    """256 MiB of parameters, made and then filled in place, in a process that has little more."""
    shapes = {f"{i}.weight": ("F32", (4096, 2048)) for i in range(8)}
    files.write_sparse_safetensors(tmp_path / "big.safetensors", shapes)
    program = """
import sys, torch, headrace.torch
def now(what):
    return int(next(line for line in open("/proc/self/status") if line.startswith(what)).split()[1]) >> 10
with torch.device("meta"):
    model = torch.nn.Sequential(*(torch.nn.Linear(2048, 4096, bias=False) for _ in range(8)))
for kind in "meta", "real":
    open("/proc/self/clear_refs", "w").write("5")
    before = now("VmRSS")
    headrace.torch.load_into(model, sys.argv[1], memory="48MiB", host_reads="cached")
    print(now("VmHWM") - before)
    assert sum(float(parameter.detach().sum()) for parameter in model.parameters()) == 0
    for parameter in model.parameters():
        torch.nn.init.ones_(parameter)
"""
    out = subprocess.run([sys.executable, "-c", program, str(tmp_path / "big.safetensors")], check=True,
                         capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    made, filled = map(int, out.stdout.split())
    assert 256 <= made <= 256 + 48 + 48 and filled <= 48 + 32 + 48
