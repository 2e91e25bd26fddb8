"""headrace.torch.enable_vram_management: what a managed model computes, and what it looks like."""

import copy

import pytest
import torch
from converting import command
from offloading import DISK, GIB, Block, Model, chain, managed, saved

import headrace
import headrace.torch

LIMITS = [None, 0, 60_000 / GIB, 150_000 / GIB]


def run(model, *given):
    with torch.no_grad():
        return model(*given)


@pytest.fixture
def model():
    torch.manual_seed(1)
    made = Model().eval()
    made.mean.normal_()
    return made


@pytest.fixture
def tokens():
    return torch.randint(0, 50, (2, 7), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_bits_from_disk(tmp_path, model, tokens, dtype, limit):
    path = saved(model, tmp_path)
    there = managed(Model, path, limit=limit, dtype=dtype)
    expected = run(model.to(dtype), tokens)
    for _ in range(4):
        assert torch.equal(run(there, tokens), expected)
    statistics = there.vram_manager.statistics
    assert statistics.passes == 4 and statistics.uses == 4 * (2 + 4 * 4)
    if limit == 0:
        assert statistics.resident_bytes == sum(t.nbytes for t in (there.start, *there.buffers()))


@pytest.mark.parametrize("limit", LIMITS)
def test_fp8_at_rest_and_bf16_in_use(tmp_path, model, tokens, limit):
    path = saved(model, tmp_path)
    reference = copy.deepcopy(model)
    with torch.no_grad():
        for name, param in reference.named_parameters():
            # The model's own parameter is always there, as what computes.
            param.data = param.bfloat16() if name == "start" else param.to(torch.float8_e4m3fn).bfloat16()
    expected = run(reference.to(torch.bfloat16), tokens)
    eight = {f"{state}_dtype": torch.float8_e4m3fn for state in ("offload", "onload", "preparing")}
    states = [{**eight, "offload_device": "disk", "onload_device": "cpu"},
              {**eight, "offload_device": "cpu", "onload_device": "cpu"},
              {"onload_dtype": torch.float8_e4m3fn, "onload_device": "cpu"},
              {"preparing_dtype": torch.float8_e4m3fn}]
    for config in states:
        there = managed(Model, path, limit=limit, dtype=torch.bfloat16, **config)
        for _ in range(3):
            assert torch.equal(run(there, tokens), expected), config
        assert there.blocks[0].up.weight.dtype == (torch.float8_e4m3fn if config.get("onload_device") == "cpu" else
                                                   torch.bfloat16)


def test_from_memory_without_a_disk_map(model, tokens):
    expected = run(copy.deepcopy(model).to(torch.bfloat16), tokens)
    headrace.torch.enable_vram_management(model, vram_limit=0, vram_config={
        "offload_dtype": torch.float32, "onload_dtype": torch.float32, "offload_device": "cpu", "onload_device": "cpu",
        "computation_dtype": torch.bfloat16, "computation_device": "cpu"})  # fmt: skip
    assert torch.equal(run(model, tokens), expected) and model.embed.weight.dtype == torch.float32
    assert model.head.weight is model.embed.weight


def test_types_of_blocks_are_decoded(tmp_path):
    reference = chain(width=256)
    path = saved(reference, tmp_path)
    command("convert", path, "-o", tmp_path / "m.gguf", "--type", "q5_k", "--architecture", "llama")
    for name, param in reference.named_parameters():
        param.data = headrace.open(tmp_path / "m.gguf", framework="pt")[name].torch(dtype="F32").bfloat16()
    x = torch.randn(3, 256, dtype=torch.bfloat16)
    there = managed(lambda: chain(width=256), tmp_path / "m.gguf", limit=0, dtype=torch.bfloat16)
    assert torch.equal(run(there, x), run(reference, x))


class Odd(torch.nn.Module):
    """Modules that use their weights in ways of their own."""

    def __init__(self):
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(16, 2, batch_first=True)
        self.layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.lstm = torch.nn.LSTM(16, 16, batch_first=True)
        self.normed = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(16, 16))
        self.batch = torch.nn.BatchNorm1d(16)
        self.conv = torch.nn.Conv1d(16, 16, 3, padding=1)
        self.same = self.conv
        self.many = torch.nn.Module()
        self.many.list = torch.nn.ParameterList(torch.randn(16) for _ in range(2))
        self.many.forward = lambda x: x * self.many.list[0] + self.many.list[1]

    def forward(self, x):
        x = self.attention(x, x, x)[0]
        x = self.normed(self.lstm(self.layer(x))[0]).transpose(1, 2)
        return self.many(self.same(self.conv(self.batch(x))).transpose(1, 2))


@pytest.mark.parametrize("limit", [0, None])
def test_modules_with_ways_of_their_own(tmp_path, limit):
    torch.manual_seed(1)
    odd = Odd().eval()
    path, x = saved(odd, tmp_path), torch.randn(2, 5, 16)
    there = managed(Odd, path, limit=limit)
    assert there.same is there.conv
    for _ in range(3):
        assert torch.equal(run(there, x), run(odd, x))
    assert list(there.state_dict()) == list(odd.state_dict())


def test_names_and_state_dicts(tmp_path, model):
    path = saved(model, tmp_path)
    there = managed(Model, path, limit=0)
    assert [name for name, _ in there.named_parameters()] == [name for name, _ in model.named_parameters()]
    assert all(param.is_meta for name, param in there.named_parameters() if name != "start")
    state, expected = there.state_dict(), model.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
    assert state["head.weight"] is state["embed.weight"]
    assert torch.equal(there.blocks[1].state_dict()["up.weight"], expected["blocks.1.up.weight"])
    again = saved(there, tmp_path, "again.safetensors")
    assert headrace.verify(path, again).same()
    with pytest.raises(headrace.UnsupportedError, match="rest on disk"):
        there.load_state_dict(expected)


def test_a_state_dict_larger_than_the_memory_is_refused(tmp_path, model, monkeypatch):
    from headrace.vram import models

    there = managed(Model, saved(model, tmp_path))
    monkeypatch.setattr(models, "_available_bytes", lambda: 1000)
    with pytest.raises(headrace.BudgetError, match="larger than the memory.*1000 bytes.*DiskMap"):
        there.state_dict()


def test_loading_a_state_dict_into_memory(model, tokens):
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.blocks[2].up.weight.mul_(2)
    headrace.torch.enable_vram_management(model, vram_config={
        "offload_dtype": torch.float64, "onload_dtype": torch.float64, "computation_dtype": torch.float32,
        "computation_device": "cpu"})  # fmt: skip
    run(model, tokens)
    model.load_state_dict(other.state_dict())
    assert torch.equal(run(model, tokens), run(other, tokens))


def test_modes_hooks_and_attributes(tmp_path, model, tokens):
    there = managed(Model, saved(model, tmp_path), limit=0)
    assert not there.blocks[0].up.training
    there.train()
    assert there.blocks[0].up.training and there.blocks[0].up.module.training and there.blocks[0].module.training
    there.eval()
    assert not there.blocks[0].norm.module.training
    seen = []
    there.blocks[1].up.register_forward_hook(lambda module, given, y: seen.append(y.shape))
    there.blocks[1].up.register_forward_pre_hook(lambda module, given: seen.append("before"))
    there.blocks[1].register_forward_hook(lambda module, given, y: y * 0)
    assert (run(there.blocks[1], torch.randn(3, 64)) == 0).all() and seen == ["before", torch.Size([3, 128])]
    block = there.blocks[0]
    assert isinstance(block.up, torch.nn.Linear) and block.up.in_features == 64 and isinstance(block.module, Block)
    block.flavour = "sweet"
    assert block.module.flavour == "sweet" and block.flavour == "sweet"
    with pytest.raises(AttributeError):
        _ = block.nothing
    assert "in_features=64" in repr(there)


def test_what_is_refused(tmp_path, model):
    path = saved(model, tmp_path)
    there = managed(Model, path)
    for refused in (lambda: there.to(torch.float16), lambda: there.half(), lambda: there.blocks[0].float(),
                    lambda: copy.deepcopy(there), lambda: copy.deepcopy(there.blocks[0])):
        with pytest.raises(headrace.UnsupportedError, match="under management"):
            refused()
    with pytest.raises(headrace.InvalidArgumentError, match="already"):
        headrace.torch.enable_vram_management(there, vram_config={**DISK, "computation_dtype": torch.float32})
    wrong = [({"computation_dtype": torch.float32}, "computation_device"),
             ({**DISK, "computation_dtyp": torch.float32}, "did you mean computation_dtype"),
             ({**DISK, "computation_dtype": torch.float32, "computation_device": "disk"}, "computed on disk"),
             ({**DISK, "computation_dtype": torch.float32, "offload_device": "cpu"}, "onloaded to disk"),
             ({**DISK, "computation_dtype": torch.float32}, "need a disk_map"),
             ({**DISK, "computation_dtype": torch.float32, "offload_device": "moon"}, "offload_device")]
    for config, problem in wrong:
        with pytest.raises(headrace.Error, match=problem):
            headrace.torch.enable_vram_management(Model(), vram_config=config)
    with pytest.raises(headrace.InvalidArgumentError, match="vram_limit"):
        managed(Model, path, limit=-1)
    with pytest.raises(headrace.InvalidArgumentError, match="module_map"):
        managed(Model, path, module_map={torch.nn.Linear: torch.nn.Linear})


def test_a_map_that_does_not_fit(tmp_path, model):
    path = saved({"embed.weight": torch.ones(50, 32)}, tmp_path)
    with pytest.raises(headrace.InvalidArgumentError, match=r"missing: .*start.*1 of another shape: embed.weight") as raised:
        managed(Model, path)
    assert "state_dict_converter" in raised.value.hint
    renamed = saved({f"model.{name}": tensor for name, tensor in model.state_dict().items()}, tmp_path, "r.safetensors")
    disk = headrace.DiskMap(renamed, state_dict_converter=lambda s: {name[6:]: old for name, old in s.items()})
    tokens = torch.arange(5)
    assert torch.equal(run(managed(Model, renamed, disk_map=disk), tokens), run(model, tokens))
    with torch.device("meta"):
        bare = Model()
    with pytest.raises(headrace.InvalidArgumentError, match="a buffer is on meta.*skip_model_initialization"):
        managed(lambda: bare, path, disk_map=headrace.DiskMap(saved(model, tmp_path, "all.safetensors")))


def test_a_module_map_of_ones_own(tmp_path, model, tokens):
    path = saved(model, tmp_path)
    wrap = headrace.torch
    there = managed(Model, path, limit=0, module_map={Block: wrap.AutoWrappedModule})
    assert torch.equal(run(there, tokens), run(model, tokens))
    assert [unit.name for unit in there.vram_manager.units] == [f"blocks.{i}" for i in range(4)]
    assert not there.embed.weight.is_meta  # no wrapper's: always there
    there = managed(Model, path, limit=0, module_map={torch.nn.Linear: wrap.AutoWrappedLinear,
                                                      Block: wrap.AutoWrappedNonRecurseModule})
    assert torch.equal(run(there, tokens), run(model, tokens)) and there.blocks[0].scale.is_meta
    whole = managed(Model, path, module_map={Model: wrap.AutoWrappedModule})
    assert isinstance(whole, wrap.AutoWrappedModule) and whole.vram_management_enabled
    assert torch.equal(run(whole, tokens), run(model, tokens)) and len(whole.vram_manager.units) == 1


def test_loras(tmp_path):
    reference = chain(3)
    there = managed(lambda: chain(3), saved(reference, tmp_path), limit=0)
    x, rank = torch.randn(5, 64), 4
    A, B, A2, B2 = (torch.randn(*shape) for shape in ((rank, 64), (64, rank), (rank, 64), (64, rank)))
    layer, plain = there[1], run(reference[1], x)
    layer.add_lora(A, B, 0.7)
    layer.lora_A_weights.append(A2)
    layer.lora_B_weights.append(B2)
    expected = plain + (x @ A.T) @ B.T * 0.7 + (x @ A2.T) @ B2.T * 1.0
    assert torch.equal(run(layer, x), expected)
    assert not torch.equal(run(there, x), run(reference, x))
    layer.clear_lora()
    assert torch.equal(run(there, x), run(reference, x)) and layer.lora_A_weights == []
    with pytest.raises(headrace.InvalidArgumentError, match="doesn't fit"):
        layer.add_lora(B, A)


def test_gradients_of_what_goes_in(tmp_path):
    reference = chain()
    there = managed(chain, saved(reference, tmp_path), limit=0)
    x = torch.randn(3, 64, requires_grad=True)
    torch.tanh(there(x)).sum().backward()
    found, x.grad = x.grad, None
    torch.tanh(reference(x)).sum().backward()
    assert torch.equal(found, x.grad)


class Table(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rows = torch.nn.Parameter(torch.randn(64, 64))

    def forward(self, n):
        return self.rows[:n]


def test_what_a_unit_returned_is_never_overwritten(tmp_path):
    torch.manual_seed(5)
    tables = torch.nn.ModuleList(Table() for _ in range(6))
    there = managed(lambda: torch.nn.ModuleList(Table() for _ in range(6)), saved(tables, tmp_path), limit=0)
    returned = [run(table, 8) for table in there]
    assert all(torch.equal(row, table.rows[:8]) for row, table in zip(returned, tables))
