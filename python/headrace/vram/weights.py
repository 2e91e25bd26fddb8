"""A model's parameters and buffers: which come and go together, which are always there, and where they are read from."""

from __future__ import annotations

import torch

from .._disk_map import DiskMap
from .._errors import refuse
from .config import Config
from .units import Slot, find_sources
from .wrappers import AutoTorchModule


def slots_of(model: torch.nn.Module) -> dict[int, Slot]:
    """Of the id of each parameter's tensor; tied ones once, with all their names."""
    slots: dict[int, Slot] = {}
    for path, part in model.named_modules(remove_duplicate=False):
        for leaf, param in part._parameters.items():
            if param is None:
                continue
            if torch.nn.parameter.is_lazy(param):
                raise refuse("a lazy module has no weights yet", tensor=f"{path}.{leaf}", hint="call the model once")
            slot = slots.setdefault(id(param), Slot(param))
            slot.names.append(f"{path}.{leaf}" if path else leaf)
            if not any(holder is part._parameters and leaf == one for holder, one in slot.places):
                slot.places.append((part._parameters, leaf))
    return slots


def grouped(wrappers: list[AutoTorchModule], slots: dict[int, Slot]) -> tuple[list, list[Slot]]:
    """Wrappers that come and go together, as they have tied weights, with what they have; and what has to be there
    always: no wrapper has it, or not in all places."""
    held = {id(part._parameters) for wrapper in wrappers for part in wrapper.own_parts()}
    loose = {key for key, slot in slots.items() if any(id(holder) not in held for holder, _ in slot.places)}
    group_of: dict[int, list] = {}  # of a parameter's id
    groups: list[list] = []
    for wrapper in wrappers:
        params = {id(param) for part in wrapper.own_parts() for param in part._parameters.values()
                  if param is not None and id(param) not in loose}
        merged = [[wrapper], params]
        for other in {id(group_of[one]): group_of[one] for one in params if one in group_of}.values():
            groups.remove(other)
            merged = [other[0] + merged[0], other[1] | merged[1]]
        groups.append(merged)
        for one in merged[1]:
            group_of[one] = merged
    order = {key: i for i, key in enumerate(slots)}
    made = [(members, [slots[key] for key in sorted(params, key=order.__getitem__)]) for members, params in groups]
    return [row for row in made if row[1]], [slots[key] for key in slots if key in loose]


def buffers_of(model: torch.nn.Module) -> list[Slot]:
    """Buffers as slots, so that shared ones stay shared; of persistent ones alone the names."""
    found: dict[int, Slot] = {}
    for path, part in model.named_modules(remove_duplicate=False):
        for leaf, buffer in part._buffers.items():
            if buffer is None:
                continue
            slot = found.setdefault(id(buffer), Slot(buffer))
            if leaf not in part._non_persistent_buffers_set:
                slot.names.append(f"{path}.{leaf}" if path else leaf)
            slot.places.append((part._buffers, leaf))
    return list(found.values())


def check_sources(slots: dict[int, Slot], loose: list[Slot], buffers: list[Slot], config: Config,
                  disk_map: DiskMap | None) -> None:
    """All weights can be found, before one is moved."""
    on_meta = [slot for slot in slots.values() if slot.home.is_meta]
    if disk_map is None:
        if on_meta:
            raise refuse("parameters are on meta, and there is no disk_map to read them from", tensor=on_meta[0].names[0],
                         hint="disk_map=headrace.DiskMap(path)")
    else:
        loose_ids = {id(slot) for slot in loose}
        wanted = [slot for slot in slots.values() if slot.home.is_meta or config.reads_disk and id(slot) not in loose_ids]
        find_sources(wanted, disk_map)
    for slot in buffers:
        slot.source = next((one for one in slot.names if disk_map is not None and one in disk_map), None)
        if slot.home.is_meta and slot.source is None:
            name = slot.names[0] if slot.names else slot.places[0][1]
            raise refuse("a buffer is on meta, and the checkpoint hasn't it", tensor=name,
                         hint="build the model in skip_model_initialization(), which computes buffers")


def pin(loose: list[Slot], buffers: list[Slot], config: Config, disk_map: DiskMap | None) -> int:
    """Brings to the computing device what always stays there; its bytes."""
    place, nbytes = config.computation, 0
    with torch.no_grad():
        for slot in loose:
            tensor = slot.home.detach()
            if tensor.is_meta:
                tensor = torch.empty(tensor.shape, dtype=place.dtype_of(tensor.dtype), device=place.device)
                disk_map.read_into(slot.source, tensor)
            slot.rest_as(tensor.to(place.device, place.dtype_of(tensor.dtype)))
            nbytes += slot.home.nbytes
        for slot in buffers:
            tensor = slot.home
            if slot.source is not None:
                tensor = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
                disk_map.read_into(slot.source, tensor)
            tensor = tensor.to(place.device, place.dtype_of(tensor.dtype))
            slot.put(tensor)
            nbytes += tensor.nbytes
    return nbytes
