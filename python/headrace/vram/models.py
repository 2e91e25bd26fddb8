"""enable_vram_management: a model's modules wrapped, its weights brought to where they rest; and pipelines of models."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from .._disk_map import DiskMap
from .._errors import refuse
from .config import Config
from .manager import Manager
from .units import Unit
from .weights import buffers_of, check_sources, grouped, pin, slots_of
from .wrappers import (AutoTorchModule, AutoWrappedLinear, AutoWrappedModule, AutoWrappedNonRecurseModule,
                       hook_state_dicts)

ModuleMap = Mapping[type, type]

# They use the weights of modules that they hold without calling these.
_WHOLE = (torch.nn.MultiheadAttention, torch.nn.TransformerEncoderLayer, torch.nn.RNNBase)
_LISTS = (torch.nn.ParameterList, torch.nn.ParameterDict)

_managed: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()


def enable_vram_management(model: torch.nn.Module, module_map: ModuleMap | None = None,
                           vram_config: Mapping[str, Any] | None = None, vram_limit: float | None = None,
                           disk_map: DiskMap | None = None, *, name: str | None = None) -> torch.nn.Module:
    """Runs a model whose weights needn't be in its device's memory, nor in any: they come before they are needed, and
    go when others need the room.

        >>> with headrace.torch.skip_model_initialization():
        ...     model = Model(config)
        >>> disk = headrace.DiskMap("model.safetensors")
        >>> headrace.torch.enable_vram_management(model, vram_limit=4, disk_map=disk, vram_config={
        ...     "offload_device": "disk", "onload_device": "disk",
        ...     "computation_dtype": torch.bfloat16, "computation_device": "cuda"})

    model: its modules are replaced by wrappers, in place; names of parameters stay. Its weights go to where they rest:
        those on meta are read from ``disk_map``.
    module_map: of module classes the wrappers' classes, the first that fits. AutoWrappedLinear and AutoWrappedModule
        manage a module with all that is in it as one unit, AutoWrappedNonRecurseModule its own parameters alone.
        Parameters that no wrapper manages, and the model's own, are always on the device that computes. Without a map
        every Linear and every other module that has parameters is a unit.
    vram_config: "offload_dtype", "offload_device" (where weights rest while the model isn't needed), "onload_…" (while
        it may be needed any time), "preparing_…" (where they are kept as long as there is room), "computation_…"
        (during forward; required). "disk" as one of the first three says that they take no memory there: as
        "preparing_device", that nothing is kept. What isn't given is as for computation. Dtypes are those of floating
        weights; a weight is cast from each of these states to the next, whether or not it was kept, so results don't
        depend on the limit.
    vram_limit: GiB of the computing device that the model's weights, and on CUDA whatever torch has there, may take;
        what offload and onload put there apart. 0: nothing is kept, and one unit is there at a time. None: no limit.
    disk_map: where weights are read from. Tied weights need one of their names there. Types of blocks are decoded.
    name: by which load_models_to_device knows it; without, its class's.

    The order of units is learnt while the model runs; threads read, cast and copy the next ones meanwhile. When
    room is needed, those go whose next use is farthest. Weights don't learn, and have no gradients. Buffers stay on the
    computing device; floating ones have the computation's dtype, as Module.to() would give it to them.

    Returns the model: a wrapper where the whole model is one unit. ``model.vram_management_enabled`` is True then;
    ``model.vram_manager.statistics`` says what was done. Any number of threads may run it.

    Raises InvalidArgumentError (a config, map or disk map that doesn't fit the model), and what reading raises: then
    the model shouldn't be used. Errors of reading during forward are raised by forward; the next call tries again.
    """
    if not isinstance(model, torch.nn.Module):
        raise refuse(f"model: found {type(model).__name__}", expected="a torch.nn.Module")
    if getattr(model, "vram_management_enabled", False) or any(isinstance(m, AutoTorchModule) for m in model.modules()):
        raise refuse("this model, or a part of it, is under management already")
    config = Config(vram_config or {})
    if config.reads_disk and disk_map is None:
        raise refuse("weights that are offloaded to disk need a disk_map", hint="disk_map=headrace.DiskMap(path)")
    if disk_map is not None and not isinstance(disk_map, DiskMap):
        raise refuse(f"disk_map: found {type(disk_map).__name__}", expected="a headrace.DiskMap")
    manager = Manager(config, _limit_bytes(vram_limit))
    choose = _chooser(module_map)
    slots, buffers = slots_of(model), buffers_of(model)
    wrapper_class = choose(model) if module_map is not None or isinstance(model, (torch.nn.Linear, *_WHOLE)) else None
    wrappers: list[AutoTorchModule] = []
    if wrapper_class is not None:
        model = _wrap(model, "", wrapper_class, wrappers)
    if wrapper_class is None or isinstance(model, AutoWrappedNonRecurseModule):
        _wrap_children(model, "", choose, wrappers, {})
    groups, loose = grouped(wrappers, slots)
    check_sources(slots, loose, buffers, config, disk_map)
    units = [Unit(i, members[0].name, group, _recurrent(members), config, disk_map)
             for i, (members, group) in enumerate(groups)]
    pinned = pin(loose, buffers, config, disk_map)
    for unit, (members, _) in zip(units, groups):
        unit.rest_at(config.offload)
        for wrapper in members:
            wrapper.managed_by(manager, unit)
            hook_state_dicts(wrapper)
    manager.manage(units, pinned)
    _mark(model, manager, name)
    return model


def load_models_to_device(models: Iterable[str | torch.nn.Module] | str | torch.nn.Module,
                          pipeline: Any = None) -> None:
    """These models of a pipeline are needed now: they are onloaded, all others offloaded, before.

    models: modules, or their names. pipeline: an object that has the models as attributes, by these names; the others
        are its others. Without, all models under management in this process, by the ``name`` that each was given.

    Models that aren't under management stay as they are. Raises InvalidArgumentError for a name that isn't there.
    """
    wanted = [models] if isinstance(models, (str, torch.nn.Module)) else list(models)
    if pipeline is None:
        named = [(model.vram_manager_name, model) for model in list(_managed)]
    else:
        parts = dict(vars(pipeline))
        parts.update(getattr(pipeline, "_modules", None) or {})
        named = [(key, part) for key, part in parts.items() if isinstance(part, torch.nn.Module)]
    names = [key for key, _ in named]
    unknown = [one for one in wanted if isinstance(one, str) and one not in names]
    if unknown:
        raise refuse(f"there is no model of the name {unknown[0]!r}", expected=", ".join(sorted(set(names))) or "models")
    chosen = {id(one) for one in wanted if not isinstance(one, str)}
    chosen |= {id(part) for key, part in named if key in wanted}
    there = [part for _, part in named] + [one for one in wanted if not isinstance(one, str)]
    managed = {id(part): part for part in there if getattr(part, "vram_management_enabled", False)}
    for key, part in managed.items():
        if key not in chosen:
            for wrapper in _wrappers_in(part):
                wrapper.offload()
    for key, part in managed.items():
        if key in chosen:
            for wrapper in _wrappers_in(part):
                wrapper.onload()


def _wrappers_in(model: torch.nn.Module) -> list[AutoTorchModule]:
    return [part for part in model.modules() if isinstance(part, AutoTorchModule)]


def _limit_bytes(limit: float | None) -> int | None:
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 <= limit < 1 << 30:
        raise refuse(f"vram_limit: found {limit!r}", expected="GiB, a number from 0, or None")
    return int(limit * (1 << 30))


# --- wrapping


def _chooser(module_map: ModuleMap | None) -> Any:
    """What says of a module which wrapper's class it gets; None for none."""
    if module_map is not None:
        for source, target in module_map.items():
            if not (isinstance(source, type) and isinstance(target, type) and issubclass(target, AutoTorchModule)):
                raise refuse(f"module_map: found {source!r}: {target!r}",
                             expected="a module class: AutoWrappedLinear, AutoWrappedModule or "
                                      "AutoWrappedNonRecurseModule")
        return lambda module: next((target for source, target in module_map.items() if isinstance(module, source)), None)

    def choose(module: torch.nn.Module) -> type | None:
        if isinstance(module, _LISTS):
            return None  # their parent uses what is in them
        if isinstance(module, _WHOLE) or "parametrizations" in module._modules:
            return AutoWrappedModule
        if isinstance(module, torch.nn.Linear):
            return AutoWrappedLinear
        lists = any(isinstance(part, _LISTS) for part in module.children())
        if not lists and all(param is None for param in module._parameters.values()):
            return None
        return AutoWrappedNonRecurseModule if module._modules else AutoWrappedModule

    return choose


def _wrap(module: torch.nn.Module, name: str, kind: type, wrappers: list[AutoTorchModule]) -> AutoTorchModule:
    wrapper = kind(module, name=name)
    wrappers.append(wrapper)
    return wrapper


def _wrap_children(parent: torch.nn.Module, prefix: str, choose: Any, wrappers: list[AutoTorchModule],
                   known: dict[int, torch.nn.Module]) -> None:
    for leaf, child in list(parent._modules.items()):
        if child is None:
            continue
        made = known.get(id(child))
        if made is None:
            name = f"{prefix}{leaf}"
            kind = choose(child)
            made = child if kind is None else _wrap(child, name, kind, wrappers)
            known[id(child)] = made
            if kind is None or isinstance(made, AutoWrappedNonRecurseModule):
                _wrap_children(child, name + ".", choose, wrappers, known)
        parent._modules[leaf] = made


def _recurrent(members: list[AutoTorchModule]) -> list[torch.nn.RNNBase]:
    return [part for wrapper in members for part in wrapper.own_parts() if isinstance(part, torch.nn.RNNBase)]


# --- the model itself


def _mark(model: torch.nn.Module, manager: Manager, name: str | None) -> None:
    kind = type(model.module if isinstance(model, AutoTorchModule) else model).__name__
    model.__dict__.update(vram_management_enabled=True, vram_manager=manager, vram_manager_name=name or kind)
    model.register_forward_pre_hook(lambda *_: manager.begin_pass(), prepend=True)
    model.register_forward_hook(lambda *_: manager.end_pass(), always_call=True)
    model.register_state_dict_pre_hook(lambda *_: _refuse_larger(manager))
    _managed.add(model)


def _refuse_larger(manager: Manager) -> None:
    """A state dict of weights on disk is read into memory: not if that can't hold it."""
    place = manager.config.computation
    needed = sum(unit.bytes_at(place) for unit in manager.units if unit.home is None)
    free = _available_bytes()
    if needed and free is not None and needed > free:
        raise refuse("the state dict has to be read from disk, and is larger than the memory that is free",
                     code="budget", expected=f"{needed} bytes", found=f"{free} bytes",
                     hint="take tensors from the DiskMap one by one, or convert its files")


def _available_bytes() -> int | None:
    try:
        with open("/proc/meminfo") as file:
            return next((int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:")), None)
    except OSError:
        pages = os.sysconf_names.get("SC_AVPHYS_PAGES")
        return None if pages is None else os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
