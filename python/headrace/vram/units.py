"""Unit: the weights that one part of a model needs at once, and where they are."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import torch

from .._disk_map import DiskMap, InPlace
from .._errors import refuse
from .config import Config, Place
from .memory import Memory

_ALIGNMENT = 64
OFFLOAD, ONLOAD = 0, 1


class Slot:
    """A parameter, and the places in the model that hold it: several where it is tied."""

    __slots__ = ("home", "names", "places", "source", "last_read")

    def __init__(self, home: torch.nn.Parameter) -> None:
        self.home = home  # as it rests; on meta while it rests on disk
        self.names: list[str] = []
        self.places: list[tuple[dict[str, Any], str]] = []
        self.source: str | None = None  # its name in the disk map
        self.last_read: Any = None  # for state_dict: a weak reference, so that tied stay tied

    def put(self, tensor: torch.Tensor) -> None:
        """All places hold this one from now on."""
        for holder, leaf in self.places:
            holder[leaf] = tensor

    def rest_as(self, tensor: torch.Tensor) -> None:
        new = torch.nn.Parameter(tensor, requires_grad=self.home.requires_grad and tensor.is_floating_point())
        new.__dict__.update(self.home.__dict__)
        self.home = new
        self.put(new)


class Unit:
    """Weights that come and go together. Everything that changes it is its manager's, which locks."""

    def __init__(self, index: int, name: str, slots: list[Slot], recurrent: list[torch.nn.RNNBase], config: Config,
                 disk_map: DiskMap | None) -> None:
        self.index = index
        self.name = name
        self.slots = slots
        self.config = config
        self.disk_map = disk_map
        self.home: Place | None = config.offload
        self.state = OFFLOAD
        self.wanted = OFFLOAD  # state that it shall have, as soon as nobody uses it
        self.users = 0
        self.loading = False
        self.failed = False  # when it was read ahead
        self.prepared: list[torch.Tensor] | None = None
        self.in_place = False  # all that is kept lies on disk as it is kept: it comes when it is wanted, not before
        self.was_cached: bool | None = None  # the system's cache had it, when it came; None where nobody can say
        self._mapped: dict[int, InPlace] | None = None  # what lies there so, by the slot's index
        self._mapped_to_stay = False
        self.in_files = False  # what rests on disk is in files of this machine
        self.computing: list[torch.Tensor] | None = None
        self._recurrent = recurrent  # they keep a list of their weights beside
        self.arrange()

    def arrange(self) -> None:
        """Which copies it needs to compute from where it rests: ``kept`` may stay, ``passing`` is there during use."""
        config = self.config
        self.in_place = self.in_place and self.home is None
        self.kept = None if self.home == config.preparing else config.preparing
        self.passing = None if config.computation == config.preparing else config.computation
        self.kept_bytes = self.bytes_at(self.kept) if self.kept else 0
        self.passing_bytes = self.bytes_at(self.passing) if self.passing else 0

    def bytes_at(self, place: Place) -> int:
        return self._layout(place)[1]

    @property
    def missing_bytes(self) -> int:
        """That have to be found before it can compute."""
        return ((self.kept_bytes if self.prepared is None else 0)
                + (self.passing_bytes if self.computing is None else 0))

    def look_ahead(self, stays: bool) -> None:
        """Finds what lies on disk as it is kept, before anything computes: small things that are made then, and stay,
        would break up the memory that results leave behind."""
        self.in_files = self.home is None and self.disk_map.in_files([slot.source for slot in self.slots])
        on_disk = self.home is None and self.config.onload is None
        if on_disk and self.kept is not None and self.kept.device.type == "cpu":
            self._find_in_place(stays)

    def load_kept(self, memory: Memory, past_cache: bool, stays: bool) -> list[torch.Tensor]:
        """What is kept, made of what rests: a copy, but for what can be used where it lies on disk. `past_cache`, `stays`:
        see InPlace.bring."""
        if self.home is not None:
            return self._copy(memory, self.kept, [slot.home for slot in self.slots])
        self.was_cached = None
        there = self._bring(past_cache, stays) if self.kept.device.type == "cpu" else {}
        self.in_place = len(there) == len(self.slots)
        return list(there.values()) if self.in_place else self._copy(memory, self.kept, None, there)

    def require_intact(self) -> None:
        """Raises IoError when what is prepared lies in a file that was changed meanwhile."""
        for tensor in (self._mapped or {}).values():
            tensor.require_intact()

    def is_lost(self) -> bool:
        """What is prepared lies in a file, and the system has given its pages up."""
        return any(tensor.is_lost() for tensor in (self._mapped or {}).values())

    def drop_prepared(self) -> None:
        self.prepared = None
        for tensor in (self._mapped or {}).values():
            tensor.let_go()

    def unmap(self) -> None:
        """What it knows of its files isn't true any more; the next load looks again. Nothing of it is prepared."""
        self._mapped = None

    def release_ahead(self) -> None:
        """It won't be used for a while: the disk map needn't hold what it has read ahead of it."""
        if self.disk_map is not None:
            self.disk_map.release([slot.source for slot in self.slots if slot.source is not None])

    def load_passing(self, memory: Memory) -> list[torch.Tensor]:
        """A copy to compute with, made of what is kept or, where that is the same, of what rests."""
        return self._copy(memory, self.passing, self.prepared or [slot.home for slot in self.slots])

    def install(self) -> None:
        """The model's parameters are what computes."""
        tensors = self.computing or self.prepared
        if tensors is None:
            return
        for slot, tensor in zip(self.slots, tensors):
            slot.put(tensor)
        self._tell_recurrent()

    def uninstall(self) -> None:
        for slot in self.slots:
            slot.put(slot.home)
        self._tell_recurrent()

    def rest_at(self, place: Place | None) -> None:
        """Moves what rests to another place, a new copy first; None leaves it to the disk. After an error all is as it
        was."""
        if place is None:
            kind = self.config.computation
            new = [torch.empty(slot.home.shape, dtype=kind.dtype_of(slot.home.dtype), device="meta")
                   for slot in self.slots]
        else:
            new = [self.at(slot, place) for slot in self.slots]
        for slot, tensor in zip(self.slots, new):
            slot.rest_as(tensor)
        if place is not None:
            self.unmap()
        self.home = place
        self._tell_recurrent()
        self.arrange()

    def at(self, slot: Slot, place: Place) -> torch.Tensor:
        """A slot's weights there: new memory, unless they are there already."""
        dtype = place.dtype_of(slot.home.dtype)
        with torch.no_grad():
            if not slot.home.is_meta:
                return slot.home.detach().to(place.device, dtype)
            read = torch.empty(slot.home.shape, dtype=dtype, device="cpu")
            self.disk_map.read_into(slot.source, read)
            return read.to(place.device)

    def _bring(self, past_cache: bool, stays: bool) -> dict[int, torch.Tensor]:
        """What lies on disk as it is kept, by the slot's index."""
        try:
            if self._mapped is None or stays != self._mapped_to_stay:
                self._find_in_place(stays)
            there = {i: tensor.bring(past_cache, stays) for i, tensor in self._mapped.items()}
            self.was_cached = all(tensor.was_cached for tensor in self._mapped.values()) if there else None
            return there
        except BaseException:
            self.drop_prepared()
            self.unmap()
            raise

    def _find_in_place(self, stays: bool) -> None:
        found = {i: self.disk_map.in_place(slot.source, self.kept.dtype_of(slot.home.dtype), stays)
                 for i, slot in enumerate(self.slots)}
        self._mapped = {i: tensor for i, tensor in found.items() if tensor is not None}
        self._mapped_to_stay = stays

    def _copy(self, memory: Memory, place: Place, tensors: list[torch.Tensor] | None,
              there: Mapping[int, torch.Tensor] = {}) -> list[torch.Tensor]:
        """New memory with what is in `tensors`, or on disk, beside what is there already."""
        rows, nbytes = self._layout(place, there)
        views: dict[int, torch.Tensor] = {}

        def look(flat: torch.Tensor) -> None:
            views.update({i: flat[at:at + size].view(dtype).view(self.slots[i].home.shape) for i, at, size, dtype in rows})

        def fill(flat: torch.Tensor) -> None:
            look(flat)
            for i, view in views.items():
                if tensors is None:
                    self.disk_map.read_into(self.slots[i].source, view)
                else:
                    view.copy_(tensors[i])

        with torch.inference_mode(False), torch.no_grad():  # another thread, of other modes, may be the next to use it
            look(memory.build(nbytes, place.device, fill, tensors is None))  # what was filled may have been on its way
            return [there[i] if i in there else torch.nn.Parameter(views[i], requires_grad=False)
                    for i in range(len(self.slots))]

    def _layout(self, place: Place, there: Container[int] = ()) -> tuple[list[tuple[int, int, int, torch.dtype]], int]:
        """Of each slot in a copy, but for those there already: its index, first byte, bytes and dtype; all its bytes."""
        rows, at = [], 0
        for i, slot in enumerate(self.slots):
            if i in there:
                continue
            dtype = place.dtype_of(slot.home.dtype)
            nbytes = slot.home.numel() * dtype.itemsize
            rows.append((i, at, nbytes, dtype))
            at += -(-nbytes // _ALIGNMENT) * _ALIGNMENT
        return rows, at

    def _tell_recurrent(self) -> None:
        for module in self._recurrent:
            module._flat_weights = [module._parameters.get(name) for name in module._flat_weights_names]


def find_sources(slots: Iterable[Slot], disk_map: DiskMap) -> None:
    """Of each slot its name in the map. Raises InvalidArgumentError with all that are missing, or of another shape."""
    missing, mismatched = [], []
    for slot in slots:
        slot.source = next((name for name in slot.names if name in disk_map), None)
        if slot.source is None:
            missing.append(slot.names[0])
            continue
        shape = disk_map.about(slot.source)[1]
        if tuple(slot.home.shape) != shape:
            mismatched.append(f"{slot.source}: {list(shape)} in the map, {list(slot.home.shape)} in the model")
    if missing or mismatched:
        found = [f"{len(names)} {what}: {', '.join(names[:10])}{' …' if len(names) > 10 else ''}"
                 for what, names in (("missing", missing), ("of another shape", mismatched)) if names]
        raise refuse("the disk map doesn't fit the model", found="; ".join(found),
                     hint="state_dict_converter renames; the map's names are those of model.named_parameters()")
