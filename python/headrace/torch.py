"""For torch: what safetensors.torch has, for every format that Headrace reads and writes, and saving and loading modules."""

from __future__ import annotations

import os

from ._errors import refuse
from ._frameworks import import_torch
from ._load import load_torch
from ._load_into import load_into
from ._save import save_file
from ._source import describe, has_data
from ._writer import Writer

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future
    from typing import Any

    import torch

    from ._types import Bytes, OutputPath
    from .vram import (AutoWrappedLinear, AutoWrappedModule, AutoWrappedNonRecurseModule, enable_vram_management,
                       load_models_to_device, skip_model_initialization)

# Made of torch's classes: imported when they are asked for.
_VRAM = ["AutoWrappedLinear", "AutoWrappedModule", "AutoWrappedNonRecurseModule", "enable_vram_management",
         "load_models_to_device", "skip_model_initialization"]

__all__ = ["load_file", "load_into", "save_file", "save_streaming", *_VRAM]


def __getattr__(name: str) -> Any:
    if name not in _VRAM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_torch()  # says so where there is none
    from . import vram

    globals().update({each: getattr(vram, each) for each in _VRAM})
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_VRAM})


def load_file(filename: str | os.PathLike, device: str | int | torch.device = "cpu", *,
              backend: str = "mmap") -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint as torch tensors on a device, by name; see headrace.load_file."""
    return load_torch(filename, device, backend)


def save_streaming(module: torch.nn.Module | Mapping[str, torch.Tensor], path: OutputPath, *,
                   metadata: Mapping[str, Any] | None = None, dtype: Any = None, shard_size: Bytes | None = None,
                   asynchronous: bool = False) -> str | Future[str]:
    """Saves a module, or its state dict, on whatever devices its tensors are, one tensor at a time: what lies on
    another device passes through 16 MiB of the CPU's memory.

    Weights that are tied (one tensor under several names) are saved once, under the first name; the metadata says of
    each other name which one it is, as safetensors.torch.save_model does, so safetensors.torch.load_model reads it. In
    GGUF, which can't say that, and where the metadata has that name for something else, they are saved under each name.

    path: ends in .safetensors or .gguf. An existing file is replaced; shards never replace others.
    metadata: of str to str, beside "format": "pt"; GGUF takes numbers, bools and lists too.
    dtype: floating tensors become this type on the way ("bf16", torch.bfloat16, and block types in GGUF).
    shard_size: bytes of tensors that a file shall hold at most, as a number or "5GB".
    asynchronous: the tensors are written before it returns, so training may go on; flushing and renaming go on in the
        background.

    Returns what to open: the path, or the index or first of the shards; with asynchronous=True a future of it.
    Raises InvalidArgumentError for what is no tensor and for tensors without data (meta), and what Writer raises.
    """
    state = module.state_dict() if hasattr(module, "state_dict") else module
    is_gguf = os.fsdecode(path).lower().endswith(".gguf")
    # GGUF has no way to say of a weight that it is another one.
    kept, tied = _untie(state, None if is_gguf else {"format", *(metadata or {})})
    specs = []
    for name, tensor in kept.items():
        own, shape = describe(tensor, name)
        casts = dtype is not None and tensor.is_floating_point()
        specs.append((name, dtype, shape, own) if casts else (name, own, shape))
    known = {} if is_gguf else {"format": "pt"}
    with Writer(path, specs, metadata={**known, **tied, **(metadata or {})}, shard_size=shard_size,
                force=True) as writer:
        for name, tensor in kept.items():
            writer.write(name, tensor, any_device=True)
        return writer.commit_async() if asynchronous else writer.commit()


def _untie(state: Mapping[str, Any], taken: set[str] | None) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors to save, and for each name that is left out the one under which it is saved. `taken`: keys of the
    metadata that mean something else; None: none are left out."""
    torch = import_torch()
    kept: dict[str, torch.Tensor] = {}
    tied: dict[str, str] = {}
    names: dict[Any, str] = {}
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            raise refuse("it is no tensor", tensor=name, found=type(tensor).__name__,
                         hint="give a state dict without it")
        same = name
        dense = tensor.layout == torch.strided and tensor.device.type != "meta" and tensor.numel() > 0
        if taken is not None and name not in taken and dense and has_data(tensor):
            view = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride(), tensor.is_conj(),
                    tensor.is_neg())
            same = names.setdefault(view, name)
        if same == name:
            kept[name] = tensor
        else:
            tied[name] = same
    return kept, tied
