"""headrace.torch.save_streaming: a module, one tensor at a time."""

import safetensors.torch
import pytest
import torch

import headrace
import headrace.torch


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(10, 4)
        self.norm = torch.nn.LayerNorm(4)
        self.head = torch.nn.Linear(4, 10, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("steps", torch.arange(3))


def test_tied_weights_are_saved_once_and_recorded(tmp_path):
    path = tmp_path / "m.safetensors"
    module = Tied()
    assert headrace.torch.save_streaming(module, path, metadata={"step": "3"}) == str(path)
    with safetensors.safe_open(path, "pt") as file:
        assert set(file.keys()) == {"embed.weight", "norm.weight", "norm.bias", "steps"}
        assert file.metadata() == {"format": "pt", "head.weight": "embed.weight", "step": "3"}
    other = Tied()
    missing, unexpected = safetensors.torch.load_model(other, path)
    assert not missing and not unexpected
    assert torch.equal(other.head.weight, module.embed.weight)


def test_a_state_dict_and_another_type(tmp_path):
    state = torch.nn.Linear(8, 4).state_dict() | {"ids": torch.arange(3)}
    headrace.torch.save_streaming(state, tmp_path / "m.safetensors", dtype=torch.bfloat16)
    read = safetensors.torch.load_file(tmp_path / "m.safetensors")
    assert torch.equal(read["weight"], state["weight"].to(torch.bfloat16))
    assert read["ids"].dtype == torch.int64


def test_views_that_only_overlap_are_saved_each(tmp_path):
    base = torch.arange(10.0)
    headrace.torch.save_streaming({"a": base, "b": base[:5], "c": base[:5], "d": base.view(2, 5)},
                                  tmp_path / "m.safetensors")
    read = safetensors.torch.load_file(tmp_path / "m.safetensors")
    assert set(read) == {"a", "b", "d"} and read["b"].tolist() == [0, 1, 2, 3, 4]


def test_shards_and_background(tmp_path):
    state = {f"l{i}": torch.full((100,), float(i)) for i in range(4)}
    future = headrace.torch.save_streaming(state, tmp_path / "m.safetensors", shard_size="1KB", asynchronous=True)
    assert future.result(timeout=60) == str(tmp_path / "m.safetensors.index.json")
    assert len(list(tmp_path.iterdir())) == 3


def test_gguf(tmp_path):
    import gguf

    headrace.torch.save_streaming({"w": torch.randn(4, 64)}, tmp_path / "m.gguf", dtype="q8_0")
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    assert reader.tensors[0].tensor_type.name == "Q8_0"
    assert reader.get_field("format") is None


def test_what_is_no_tensor(tmp_path):
    with pytest.raises(headrace.InvalidArgumentError, match="'extra': it is no tensor"):
        headrace.torch.save_streaming({"extra": 3}, tmp_path / "m.safetensors")
    with torch.device("meta"):
        module = torch.nn.Linear(3, 3)
    with pytest.raises(headrace.InvalidArgumentError, match="'weight'.*meta device"):
        headrace.torch.save_streaming(module, tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_views_that_differ_in_sign_alone_are_not_tied(tmp_path):
    c = torch.tensor([1 + 2j, 3 + 4j])
    headrace.torch.save_streaming({"a": c, "b": c.conj(), "c": c.imag, "d": c.conj().imag}, tmp_path / "m.safetensors")
    read = safetensors.torch.load_file(tmp_path / "m.safetensors")
    assert torch.equal(read["b"], c.conj().resolve_conj()) and torch.equal(read["d"], -c.imag)


def test_names_that_the_metadata_has_are_not_tied(tmp_path):
    x = torch.ones(3)
    headrace.torch.save_streaming({"a": x, "format": x, "b": x, "c": x}, tmp_path / "m.safetensors",
                                  metadata={"b": "mine"})
    with safetensors.safe_open(tmp_path / "m.safetensors", "pt") as file:
        assert set(file.keys()) == {"a", "format", "b"}
        assert file.metadata() == {"format": "pt", "b": "mine", "c": "a"}
    headrace.torch.save_streaming({"a": x, "b": x}, tmp_path / "m.gguf")
    assert set(headrace.open(tmp_path / "m.gguf")) == {"a", "b"}


def test_tensors_without_memory(tmp_path):
    freed = torch.ones(64, 64)
    freed.untyped_storage().resize_(0)
    fake = torch._subclasses.FakeTensorMode().from_tensor(torch.ones(64, 64))
    for tensor in (freed, fake, torch._efficientzerotensor((64, 64))):
        for save in (lambda state: headrace.torch.save_streaming(state, tmp_path / "m.safetensors", dtype="bf16"),
                     lambda state: headrace.save_file(state, tmp_path / "m.safetensors")):
            with pytest.raises(headrace.InvalidArgumentError, match="'w'.*no memory of its own"):
                save({"w": tensor})
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_replaced_though_it_might_have_been_shards(tmp_path):
    for value in (1.0, 2.0):
        headrace.torch.save_streaming({"a": torch.full((3,), value)}, tmp_path / "m.safetensors", shard_size="5GB")
    assert safetensors.torch.load_file(tmp_path / "m.safetensors")["a"].tolist() == [2.0] * 3
