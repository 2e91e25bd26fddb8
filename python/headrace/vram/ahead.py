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
    doesn't keep, into the map's own memory, which no limit of a model's counts until they are used. While that cache has
    had everything for a while, the map isn't asked. All others are loaded ahead, where there is room; where there never
    is, they are read ahead too.
    """

    def __init__(self, units: list[Unit], order: Order, room: Room) -> None:
        self._units = units
        self._order = order
        self._room = room
        self._asked: set[int] = set()  # the disk map, to read ahead
        self._asked_bytes = 0  # of these
        self._all_in_place = False
        self._cached = 0  # units that came, since the last that the system's cache hadn't all of

    def begin_pass(self) -> None:
        self._asked.clear()  # of another order, some may never have been used
        self._asked_bytes = 0
        self._all_in_place = all(unit.in_place for unit in self._units)

    def loaded(self, unit: Unit) -> None:
        """A unit came when it was wanted."""
        if unit.was_cached is not None:
            self._cached = self._cached + 1 if unit.was_cached else 0

    def found_missing(self) -> None:
        """Of what was to be read ahead, the system's cache hadn't all."""
        self._cached = 0

    def next(self) -> Unit | None:
        """The unit to load now, if there is one, and room for it once others have gone."""
        if self._all_in_place:
            return None
        for index in self._order.upcoming(_LOOKED_AHEAD):
            unit = self._units[index]
            if unit.in_place or unit.failed or not unit.config.keeps or not self._may_come(unit):
                continue
            there = self._room.victims(unit.kept_bytes, self._order.distance(index)) is not None
            return unit if there else None
        return None

    def to_read(self, entered: Unit) -> list[str]:
        """The names in the disk map to read ahead, now that a unit is used: many at once, and then none for a while; none
        at all when as many as a pass has came from the system's cache."""
        if entered.index in self._asked:
            self._asked.remove(entered.index)
            self._asked_bytes -= entered.kept_bytes
        names: list[str] = []
        if (self._asked_bytes > _READ_AHEAD // 2 or self._cached >= len(self._order.learned)
                or not self._is_read_ahead(entered)):
            return names
        nbytes = 0
        for index in self._order.upcoming(_LOOKED_AHEAD):
            unit = self._units[index]
            if not self._may_come(unit) or not self._is_read_ahead(unit):
                continue
            nbytes += unit.kept_bytes
            if nbytes > _READ_AHEAD:
                break
            if index not in self._asked:
                self._asked.add(index)
                self._asked_bytes += unit.kept_bytes
                names += [slot.source for slot in unit.slots]
        return names

    def _is_read_ahead(self, unit: Unit) -> bool:
        """By the disk map, and not loaded ahead."""
        never_loaded = self._room.is_tight or not unit.config.keeps
        return unit.in_place or never_loaded and unit.home is None and unit.in_files

    @staticmethod
    def _may_come(unit: Unit) -> bool:
        """It isn't there, and may be; one that was sent away may not."""
        return (not unit.users and not unit.loading and unit.prepared is None and unit.kept is not None
                and unit.state == unit.wanted == ONLOAD)
