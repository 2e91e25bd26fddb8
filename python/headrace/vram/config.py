"""vram_config: where weights are in each of their states, and as what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .. import _core
from .._dtypes import dtype_name
from .._errors import refuse
from .._frameworks import torch_dtype

DISK = "disk"
_STATES = ("offload", "onload", "preparing", "computation")
_KEYS = [f"{state}_{what}" for state in _STATES for what in ("dtype", "device")]


class Place:
    """A dtype and a device that weights have there. ``dtype``: of floating weights; all others keep theirs."""

    __slots__ = ("dtype", "device")

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype = dtype
        self.device = device

    def dtype_of(self, own: torch.dtype) -> torch.dtype:
        return self.dtype if own.is_floating_point else own

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and self.dtype == other.dtype and self.device == other.device

    __hash__ = None

    def __repr__(self) -> str:
        return f"{self.dtype} on {self.device}"


class Config:
    """The states' places; None is the disk. ``keeps``: weights may stay where they were prepared."""

    __slots__ = ("offload", "onload", "preparing", "computation", "keeps")

    def __init__(self, given: Mapping[str, Any]) -> None:
        for key in given:
            if key not in _KEYS:
                near = " or ".join(_core.closest(str(key), _KEYS))
                raise refuse(f"vram_config: unknown key {key!r}", expected=", ".join(_KEYS),
                             hint=f"did you mean {near}?" if near else None)
        if given.get("computation_dtype") is None or given.get("computation_device") is None:
            raise refuse("vram_config: it doesn't say what computes", expected="computation_dtype, computation_device")
        computation = _place(given, "computation", None)
        if computation is None:
            raise refuse("vram_config: nothing can be computed on disk", expected="a device")
        self.computation = computation
        self.offload = _place(given, "offload", computation)
        self.onload = _place(given, "onload", computation)
        preparing = _place(given, "preparing", computation)
        self.keeps = preparing is not None
        self.preparing = preparing or computation
        if self.onload is None and self.offload is not None:
            raise refuse("vram_config: weights that are offloaded to memory can't be onloaded to disk",
                         found=f"offload is {self.offload}", hint="offload_device='disk', or another onload_device")

    @property
    def reads_disk(self) -> bool:
        return self.offload is None


def _place(given: Mapping[str, Any], state: str, default: Place | None) -> Place | None:
    dtype, device = given.get(f"{state}_dtype"), given.get(f"{state}_device")
    if DISK in (dtype, device) if isinstance(dtype, str) or isinstance(device, str) else False:
        return None
    if dtype is None and default is not None:
        dtype = default.dtype
    if device is None and default is not None:
        device = default.device
    if not isinstance(dtype, torch.dtype):
        dtype = torch_dtype(dtype_name(dtype))
    try:
        where = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise refuse(f"vram_config: {state}_device: found {device!r}", expected="'disk', or one of torch's") from error
    if where.type == "cuda" and where.index is None:
        where = torch.device("cuda", torch.cuda.current_device() if torch.cuda.is_available() else 0)
    if where.type == "meta":
        raise refuse(f"vram_config: {state}_device is meta, which holds no weights", hint="'disk' takes no memory")
    return Place(dtype, where)
