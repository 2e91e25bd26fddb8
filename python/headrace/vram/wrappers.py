"""The wrappers: modules in place of others, whose weights are there while their forward runs."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from .._errors import Error, refuse
from .manager import Manager
from .units import OFFLOAD, ONLOAD, Slot, Unit

# What a wrapper and its module have together: parameters, buffers, children and what is called about state dicts.
# So names are as they were, and so is what was registered.
_SHARED = ("_parameters", "_buffers", "_non_persistent_buffers_set", "_modules", "_state_dict_hooks",
           "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks")
_OWN = frozenset({"training", "name", "module", "lora_A_weights", "lora_B_weights", "lora_alphas"})


class AutoTorchModule(torch.nn.Module):
    """What the wrappers have in common. ``module`` is what is wrapped: its attributes and methods are the wrapper's
    too, and it has the same parameters, buffers and children, under the same names.

    ``offload()``: its weights won't be needed soon. ``onload()``: they may be needed any time. ``preparing()``: they
    are brought to where they are prepared, if there is room. ``state``: 0, 1 or 2 of them, in this order. Weights that
    are in use stay until they are not. Using a module that was offloaded onloads it.

    Thread-safe: several threads may be in its forward; they share its weights.
    """

    def __init__(self, module: torch.nn.Module, *, name: str = "", **ignored: Any) -> None:
        torch.nn.Module.__init__(self)
        for key in _SHARED:
            if key in module.__dict__:
                self.__dict__[key] = module.__dict__[key]
        self.__dict__.update(module=module, training=module.training, name=name, _manager=None, _unit=None)

    def own_parts(self) -> list[torch.nn.Module]:
        """The modules whose parameters this wrapper manages."""
        return list(self.module.modules())

    def managed_by(self, manager: Manager, unit: Unit) -> None:
        self.__dict__.update(_manager=manager, _unit=unit)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        manager, unit = self._manager, self._unit
        if manager is None:
            return self.module(*args, **kwargs)
        manager.acquire(unit)
        try:
            return self.module(*args, **kwargs)
        finally:
            manager.release(unit)

    def offload(self) -> None:
        self._want(OFFLOAD)

    def onload(self) -> None:
        self._want(ONLOAD)

    def preparing(self) -> None:
        if self._manager is not None:
            self._manager.prepare(self._unit)

    @property
    def state(self) -> int:
        unit = self._unit
        if unit is None:
            return OFFLOAD
        return 2 if unit.state == ONLOAD and (unit.prepared is not None or unit.kept is None) else unit.state

    def _want(self, state: int) -> None:
        if self._manager is not None:
            self._manager.want(self._unit, state)

    def train(self, mode: bool = True) -> AutoTorchModule:
        self.module.train(mode)
        self.__dict__["training"] = mode
        return self

    def extra_repr(self) -> str:
        return self.module.extra_repr()

    def _apply(self, fn: Any, recurse: bool = True) -> AutoTorchModule:
        raise refuse("this model's weights are under management: they can't be moved or cast as a whole",
                     code="unsupported", tensor=self.name or None,
                     hint="say where weights are, and as what, in vram_config; offload() and onload() move them")

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "module" not in self.__dict__:
                raise
            return getattr(self.module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN or name.startswith("_") or hasattr(type(self), name):
            super().__setattr__(name, value)
        else:
            setattr(self.module, name, value)

    def __deepcopy__(self, memo: Any) -> Any:
        return self._manager.__reduce__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._manager is None:
            return super().__reduce_ex__(protocol)
        return self._manager.__reduce__()


class AutoWrappedModule(AutoTorchModule):
    """Manages all parameters of a module and of what is in it as one unit."""


class AutoWrappedNonRecurseModule(AutoTorchModule):
    """Manages the parameters of a module itself; what is in it is managed on its own. They stay while its forward
    runs."""

    def own_parts(self) -> list[torch.nn.Module]:
        lists = (torch.nn.ParameterList, torch.nn.ParameterDict)
        return [self.module, *(part for part in self.module.children() if isinstance(part, lists))]


class AutoWrappedLinear(AutoTorchModule, torch.nn.Linear):
    """Manages a Linear. LoRAs are added to what it gives: ``y += (x A^T) B^T alpha`` for each."""

    def __init__(self, module: torch.nn.Linear, *, name: str = "", **ignored: Any) -> None:
        AutoTorchModule.__init__(self, module, name=name)
        self.__dict__.update(lora_A_weights=[], lora_B_weights=[], lora_alphas=[])

    def add_lora(self, A: torch.Tensor, B: torch.Tensor, alpha: float = 1.0) -> None:
        """A: [rank, in_features]; B: [out_features, rank]. They are kept as they are, not copied, and brought to the
        input's device and type when they are used. Raises InvalidArgumentError for other shapes."""
        module = self.module
        wanted = ([A.shape[0] if A.dim() else 0, module.in_features], [module.out_features, A.shape[0] if A.dim() else 0])
        if [list(A.shape), list(B.shape)] != list(wanted):
            raise refuse("the LoRA doesn't fit this layer", tensor=self.name or None,
                         expected=f"A of [rank, {module.in_features}], B of [{module.out_features}, rank]",
                         found=f"{list(A.shape)} and {list(B.shape)}")
        self.lora_alphas += [1.0] * (len(self.lora_A_weights) - len(self.lora_alphas))
        self.lora_A_weights.append(A)
        self.lora_B_weights.append(B)
        self.lora_alphas.append(alpha)

    def clear_lora(self) -> None:
        self.lora_A_weights.clear()
        self.lora_B_weights.clear()
        self.lora_alphas.clear()

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        y = super().forward(x, *args, **kwargs)
        if self.lora_A_weights:
            alphas = itertools.chain(self.lora_alphas, itertools.repeat(1.0))  # who appends to the lists has none
            for A, B, alpha in zip(self.lora_A_weights, self.lora_B_weights, alphas):
                A, B = A.to(x.device, x.dtype), B.to(x.device, x.dtype)
                y = y + (x @ A.T) @ B.T * alpha
        return y


def hook_state_dicts(wrapper: AutoTorchModule) -> None:
    """A state dict of the module has the weights as they rest, read from the disk map where that is the disk; loading
    one changes what rests in memory, and is refused where the disk has it."""
    unit = wrapper._unit
    homes = {(id(holder), leaf): slot for slot in unit.slots for holder, leaf in slot.places}
    names: dict[str, Slot] = {}
    for path, part in wrapper.named_modules(remove_duplicate=False):
        for leaf in part._parameters:
            slot = homes.get((id(part._parameters), leaf))
            if slot is not None:
                names[f"{path}.{leaf}" if path else leaf] = slot

    def given(module: Any, state: dict[str, Any], prefix: str, metadata: Any) -> None:
        for name, slot in names.items():
            if prefix + name in state:
                state[prefix + name] = _resting(unit, slot)

    def taken(module: Any, state: Any, prefix: str, *rest: Any) -> None:
        if unit.home is None and any(prefix + name in state for name in names):
            raise _refuse_loading(unit)
        wrapper.offload()

    wrapper._register_state_dict_hook(given)
    wrapper.register_load_state_dict_pre_hook(taken)


def _resting(unit: Unit, slot: Slot) -> torch.Tensor:
    import weakref

    if unit.home is not None:
        return slot.home.detach()
    tensor = slot.last_read() if slot.last_read is not None else None
    if tensor is None:
        tensor = unit.at(slot, unit.config.computation)
        slot.last_read = weakref.ref(tensor)
    return tensor


def _refuse_loading(unit: Unit) -> Error:
    return refuse("these weights rest on disk, and can't be replaced", code="unsupported",
                  file=unit.disk_map.location if unit.disk_map is not None else None, tensor=unit.slots[0].names[0],
                  hint="make a model over another disk map")
