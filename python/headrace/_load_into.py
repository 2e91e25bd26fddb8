"""load_into: a checkpoint's tensors become a module's, each as it arrives."""

from __future__ import annotations

from collections import namedtuple

from ._errors import Error, refuse
from ._frameworks import import_torch, is_packed
from ._devices import device_name
from ._dtypes import dtype_name
from ._stream import start, stream as stream_function

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from typing import Any

    import torch

    from ._types import DType, Path

_MOST_NAMES = 10  # that an error lists of one kind


class IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What torch's load_state_dict returns."""

    __slots__ = ()

    def __repr__(self) -> str:
        return super().__repr__() if self.missing_keys or self.unexpected_keys else "<All keys matched successfully>"


class _Target:
    """A parameter or buffer, and the places in the module that hold it: several where it is tied."""

    __slots__ = ("tensor", "names", "places", "wanted")

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        self.names: list[str] = []
        self.places: list[tuple[dict[str, Any], str]] = []
        self.wanted: str | None = None  # the name under which it is taken from the checkpoint

    def replace(self, tensor: torch.Tensor) -> None:
        """All places hold this one from now on."""
        torch = import_torch()
        old = self.tensor
        if isinstance(old, torch.nn.Parameter):
            learns = old.requires_grad and (tensor.is_floating_point() or tensor.is_complex())
            new = torch.nn.Parameter(tensor, requires_grad=learns)
            new.__dict__.update(old.__dict__)
            tensor = new
        for holder, leaf in self.places:
            holder[leaf] = tensor
        self.tensor = tensor


def _targets(module: torch.nn.Module) -> list[_Target]:
    """What a state dict of the module has, tied tensors once."""
    found: dict[int, _Target] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        kept = {leaf: buffer for leaf, buffer in part._buffers.items() if leaf not in part._non_persistent_buffers_set}
        for holder, tensors in ((part._parameters, part._parameters), (part._buffers, kept)):
            for leaf, tensor in tensors.items():
                if tensor is None:
                    continue
                target = found.setdefault(id(tensor), _Target(tensor))
                target.names.append(f"{path}.{leaf}" if path else leaf)
                target.places.append((holder, leaf))
    return list(found.values())


class _Decode(Exception):
    """The checkpoint holds blocks where the module wants numbers: it has to be planned again, with rules."""

    def __init__(self, rules: list[str]) -> None:
        super().__init__()
        self.rules = rules


class _Matching:
    """Which tensor of the checkpoint becomes which of the module; looked at before one is read."""

    def __init__(self, module: torch.nn.Module, strict: bool, decode: bool) -> None:
        self.targets = _targets(module)
        self.by_name: dict[str, _Target] = {}
        self.strict = strict
        self.decode = decode
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.kind = type(module).__name__

    def __call__(self, rows: list[tuple[str, str, tuple[int, ...], int]]) -> None:
        there = {name: (dtype, shape) for name, dtype, shape, _ in rows}
        for target in self.targets:
            target.wanted = next((name for name in target.names if name in there), None)
            if target.wanted is None:
                self.missing += target.names
            else:
                self.by_name[target.wanted] = target
        known = {name for target in self.targets for name in target.names}
        self.unexpected = [name for name in there if name not in known]
        mismatched = [f"{name}: {list(there[name][1])} in the checkpoint, {list(target.tensor.shape)} in the module"
                      for name, target in self.by_name.items() if tuple(target.tensor.shape) != there[name][1]]
        if mismatched or self.strict and (self.missing or self.unexpected):
            raise self._error(mismatched)
        blocks = [name for name in self.by_name if is_packed(there[name][0])]
        if blocks and self.decode:
            import re  # takes as long as the rest of this package's modules

            raise _Decode([f"^{re.escape(name)}$={dtype_name(self.by_name[name].tensor.dtype)}" for name in blocks])

    def _error(self, mismatched: list[str]) -> Error:
        found = [f"{len(names)} {what}: {_some(names)}" for what, names in (
            ("missing", self.missing if self.strict else []), ("unexpected", self.unexpected if self.strict else []),
            ("of another shape", mismatched)) if names]
        error = refuse(f"the checkpoint doesn't fit the module {self.kind}", found="; ".join(found),
                       hint="rename, select or drop tensors, or strict=False for names that are missing or too many")
        error.missing_keys, error.unexpected_keys, error.mismatched = self.missing, self.unexpected, mismatched
        return error


def _some(names: list[str]) -> str:
    text = ", ".join(names[:_MOST_NAMES])
    return text + (f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else "")


def load_into(module: torch.nn.Module, location: Path, device: Any = None, dtype: DType | None = None, *,
              strict: bool = True, assign: bool = False, **options: Any) -> IncompatibleKeys:
    """Fills a module with a checkpoint's tensors, each as it arrives; nothing is ever there twice.

        >>> with torch.device("meta"):
        ...     model = Model()
        >>> headrace.torch.load_into(model, "model.safetensors", device="cuda:0")
        <All keys matched successfully>

    Parameters and persistent buffers on the meta device become real ones, on ``device`` ("cpu" unless told) and of the
    checkpoint's type, or ``dtype``. Others are filled where they are, converted to the type that they have;
    ``assign=True`` replaces them too, on ``device`` or their own. What requires a gradient still does. Tied tensors
    stay tied, and need one of their names in the checkpoint. Types of blocks (Q4_K, ...) are decoded, to the module's
    type. Buffers that aren't persistent are left as they are, on meta too.

    strict: every name of the module is in the checkpoint, and no other. All that is missing, unexpected or of another
        shape is in one InvalidArgumentError (its ``missing_keys``, ``unexpected_keys`` and ``mismatched``), raised
        before a tensor is read. False: names may be missing or too many; shapes may not differ.
    options: as for headrace.load: select, rename, memory, threads, progress, cancel, ...

    On the host it takes the module's own memory and ``memory``. Returns what load_state_dict does. Raises what load()
    raises; after an error in the middle some tensors are filled and others not. Ctrl-C ends it.
    """
    torch = import_torch()
    for name in ("framework", "host_threshold", "keep_host_copy", "type"):
        if name in options:
            raise TypeError(f"load_into() got an unexpected keyword argument '{name}'")
    matching = _Matching(module, strict, dtype is None)
    place = _place(torch, matching.targets, device, assign)
    given = {**(stream_function.__kwdefaults__ or {}), "location": location, "device": place, "framework": "torch",
             "dtype": dtype, "source": {}}
    for name, value in options.items():
        (given if name in given and name not in ("location", "device", "source") else given["source"])[name] = value
    try:
        tensors = start(dict(given), matching)
    except _Decode as found:
        rules = given["rules"]
        if rules is not None:
            raise refuse("the checkpoint holds types of blocks, which rules leave as they are",
                         hint="give dtype, or rules that decode them") from None
        matching = _Matching(module, strict, False)
        tensors = start({**given, "rules": found.rules}, matching)
    with tensors, torch.no_grad():
        for name, tensor in tensors:
            target = matching.by_name.get(name)
            if target is not None:
                _fill(torch, target, tensor, device, dtype, assign)
            del tensor  # before the next one comes
    return IncompatibleKeys(matching.missing, matching.unexpected)


def _place(torch: Any, targets: list[_Target], device: Any, assign: bool) -> str:
    """Where tensors are brought to: the device that they go to, where that is one that Headrace knows."""
    def ends(target: _Target) -> str:
        own = target.tensor.device
        if own.type == "meta" or assign and device is not None:
            return device_name("cpu" if device is None else device)
        return device_name(own)

    ways = {ends(target) for target in targets}
    only = next(iter(ways)) if len(ways) == 1 else "cpu"
    return only if only.partition(":")[0] == "cuda" and torch.cuda.is_available() else "cpu"


def _fill(torch: Any, target: _Target, tensor: Any, device: Any, dtype: Any, assign: bool) -> None:
    old = target.tensor
    is_meta = old.device.type == "meta"
    if not (is_meta or assign):
        old.copy_(tensor)
        return
    where = ("cpu" if is_meta else old.device) if device is None else device
    target.replace(tensor.to(where))
