"""headrace.torch.skip_model_initialization: modules whose parameters take no memory."""

import threading

import pytest
import torch
from offloading import Model
from reading import run_python

import headrace.torch

skip = headrace.torch.skip_model_initialization


def test_parameters_are_on_meta_and_buffers_are_right():
    with skip():
        model = Model()
    assert all(param.is_meta and isinstance(param, torch.nn.Parameter) for param in model.parameters())
    assert torch.equal(model.blocks[0].ramp, torch.arange(64) / 64)
    assert model.head.weight is model.embed.weight
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in Model().named_parameters()]
    assert not any(param.is_meta for param in Model().parameters())


def test_a_parameter_that_two_modules_register_stays_one():
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
            both = torch.nn.Parameter(torch.ones(4, 4), requires_grad=False)
            both.flavour = "sweet"
            self.a.weight = both
            self.b.weight = both
            self.c = both
            self.nothing = None
            self.register_parameter("none", None)

    with skip():
        tied = Tied()
    assert tied.a.weight is tied.b.weight is tied.c and tied.c.is_meta
    assert not tied.c.requires_grad and tied.c.flavour == "sweet" and tied.none is None


def test_nested_and_after_an_error():
    original = torch.nn.Module.register_parameter
    with pytest.raises(RuntimeError):
        with skip():
            with skip("cpu"):
                assert not torch.nn.Linear(2, 2).weight.is_meta
            assert torch.nn.Linear(2, 2).weight.is_meta
            raise RuntimeError
    assert torch.nn.Module.register_parameter is original and not torch.nn.Linear(2, 2).weight.is_meta


def test_other_threads_build_as_always():
    begun, done, found = threading.Event(), threading.Event(), []

    def outside():
        begun.wait(10)
        found.append(torch.nn.Linear(2, 2).weight.is_meta)
        with skip():
            done.set()
            found.append(torch.nn.Linear(2, 2).weight.is_meta)

    thread = threading.Thread(target=outside)
    thread.start()
    with skip():
        begun.set()
        done.wait(10)
        assert torch.nn.Linear(2, 2).weight.is_meta
    assert torch.nn.Linear(2, 2).weight.device.type == "cpu"
    thread.join()
    assert found == [False, True]
    assert not torch.nn.Linear(2, 2).weight.is_meta


def test_a_large_model_costs_nothing():
    program = """
import torch, headrace.torch
peak = lambda: int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
torch.nn.Linear(4, 4)
before = peak()
with headrace.torch.skip_model_initialization():
    model = torch.nn.Sequential(*(torch.nn.Linear(16384, 16384) for _ in range(16)))
print(sum(param.numel() for param in model.parameters()), peak() - before)
"""
    numbers, grown = run_python(program).split()
    assert int(numbers) > 4e9 and float(grown) < 48
