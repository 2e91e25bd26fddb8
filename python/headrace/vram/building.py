"""skip_model_initialization: modules whose parameters are on meta as soon as they have them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch

_lock = threading.Lock()
_original: Any = None  # torch's own register_parameter, while it is replaced
_blocks = 0  # `with` blocks that are open, on all threads
_here = threading.local()  # .devices: of this thread's open blocks, the innermost last

# Under this name a parameter that went to another device knows what it became: registered again, it is the same one.
_BECAME = "_headrace_became"


@contextlib.contextmanager
def skip_model_initialization(device: Any = "meta") -> Iterator[None]:
    """A module that is built within has its parameters on ``device``: on meta, which takes no memory.

        >>> with headrace.torch.skip_model_initialization():
        ...     model = Model(config)
        >>> headrace.torch.load_into(model, "model.safetensors")

    Buffers are computed as always, on the CPU: a checkpoint often hasn't them. A parameter that is registered in two
    places stays one. Of this thread alone: others that build modules meanwhile build them as always. May be nested; the
    innermost counts.

    Memory that a parameter is made of before it is registered lives until then; ``torch.empty``, which torch's own
    layers call, doesn't touch it.
    """
    _begin(torch.device(device))
    try:
        yield
    finally:
        _end()


def _begin(device: torch.device) -> None:
    global _blocks, _original
    devices = _here.__dict__.setdefault("devices", [])
    with _lock:
        if _blocks == 0:
            _original = torch.nn.Module.register_parameter
            torch.nn.Module.register_parameter = _register
        _blocks += 1
        devices.append(device)


def _end() -> None:
    global _blocks
    with _lock:
        _here.devices.pop()
        _blocks -= 1
        if _blocks == 0 and torch.nn.Module.register_parameter is _register:
            torch.nn.Module.register_parameter = _original


def _register(module: torch.nn.Module, name: str, param: torch.nn.Parameter | None) -> None:
    devices = _here.__dict__.get("devices")
    _original(module, name, param)  # checks what it is given
    if devices and isinstance(param, torch.nn.Parameter) and not torch.nn.parameter.is_lazy(param):
        module._parameters[name] = _moved(param, devices[-1])


def _moved(param: torch.nn.Parameter, device: torch.device) -> torch.nn.Parameter:
    if param.device == device:
        return param
    became = param.__dict__.get(_BECAME)
    if became is None or became.device != device:
        became = torch.Tensor._make_subclass(type(param), param.detach().to(device), param.requires_grad)
        became.__dict__.update({key: value for key, value in param.__dict__.items() if key != _BECAME})
        param.__dict__[_BECAME] = became
    return became
