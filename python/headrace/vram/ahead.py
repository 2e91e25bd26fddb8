"""Ahead: what a manager's thread does before it is wanted."""

from __future__ import annotations

from .order import Order
from .room import Room
from .units import ONLOAD, Unit

_LOOKED_AHEAD = 64  # uses
_READ_AHEAD = 128 << 20  # bytes that the disk map is asked for


class Ahead:
    """Not thread-safe: its manager locks.

    Units that are used where they lie on disk are read ahead by the disk map: into the system's cache, or, what that
    doesn't keep, into the map's own memory, which no limit of a model's counts until they are used. All others are
    loaded ahead, where there is room.
    """

    def __init__(self, units: list[Unit], order: Order, room: Room) -> None:
        self._units = units
        self._order = order
        self._room = room
        self._asked: set[int] = set()  # the disk map, to read ahead
        self._asked_bytes = 0  # of these
        self._all_in_place = False
        self._cached = 0  # loads in a row that found all in the system's cache

    def begin_pass(self) -> None:
        self._asked.clear()  # of another order, some may never have been used
        self._asked_bytes = 0
        self._all_in_place = all(unit.in_place for unit in self._units)

    def loaded(self, unit: Unit) -> None:
        """A unit came when it was wanted."""
        self._cached = self._cached + 1 if unit.in_place and unit.was_cached else 0

    def next(self) -> Unit | None:
        """The unit to load now, if there is one, and room for it once others have gone."""
        if self._all_in_place:
            return None
        for index in self._order.upcoming(_LOOKED_AHEAD):
            unit = self._units[index]
            if unit.in_place or unit.failed or not self._may_load(unit):
                continue
            there = self._room.victims(unit.kept_bytes, self._order.distance(index)) is not None
            return unit if there else None
        return None

    def to_read(self, entered: Unit) -> list[str]:
        """The names in the disk map to read ahead, now that a unit is used: many at once, and then none for a while; none
        at all while the system's cache has everything, as it had in the last pass."""
        if entered.index in self._asked:
            self._asked.remove(entered.index)
            self._asked_bytes -= entered.kept_bytes
        names: list[str] = []
        if not entered.in_place or self._asked_bytes > _READ_AHEAD // 2 or self._cached > len(self._units):
            return names
        nbytes = 0
        for index in self._order.upcoming(_LOOKED_AHEAD):
            unit = self._units[index]
            if not unit.in_place or not self._may_load(unit):
                continue
            nbytes += unit.kept_bytes
            if nbytes > _READ_AHEAD:
                break
            if index not in self._asked:
                self._asked.add(index)
                self._asked_bytes += unit.kept_bytes
                names += [slot.source for slot in unit.slots]
        return names

    @staticmethod
    def _may_load(unit: Unit) -> bool:
        """It isn't there, and may be; one that was sent away, or may not stay, may not."""
        return (not unit.users and not unit.loading and unit.prepared is None and unit.kept is not None
                and unit.state == unit.wanted == ONLOAD and unit.config.keeps)
