"""Room: what a manager's units may take, what they take, and which of them go."""

from __future__ import annotations

from .memory import Memory
from .order import Order
from .units import Unit

# Room for the unit in use and for the next one, before any is kept from pass to pass.
_PASSING_UNITS = 2


class Statistics:
    """What a manager did since it was made. Bytes are those of weights on the device that computes."""

    __slots__ = ("passes", "uses", "loads", "loads_ahead", "evictions", "stalls", "stall_seconds", "bytes_loaded",
                 "resident_bytes", "peak_bytes")

    def __init__(self) -> None:
        self.passes = 0  # of the whole model
        self.uses = 0  # of units
        self.loads = 0  # of units, when they were wanted
        self.loads_ahead = 0  # and before
        self.evictions = 0
        self.stalls = 0  # uses that waited for their weights, or for room
        self.stall_seconds = 0.0
        self.bytes_loaded = 0
        self.resident_bytes = 0  # now, with those that are in use or being read, and those that are always there
        self.peak_bytes = 0

    def __repr__(self) -> str:
        return "<headrace vram statistics: " + ", ".join(f"{name}={getattr(self, name)}" for name in self.__slots__) + ">"


class Room:
    """Not thread-safe: its manager locks.

    Of a model larger than the limit some units are kept from pass to pass, and the others pass through what is left.
    Those that are kept are spread evenly over the order of use, so that the reads of the others are too: while kept
    units compute, the next of the others is read. Of the others those go first whose next use is farthest.
    """

    def __init__(self, limit: int | None, memory: Memory, order: Order, statistics: Statistics) -> None:
        self.limit = limit
        self.resident: dict[int, Unit] = {}  # with a prepared copy
        self._memory = memory
        self._order = order
        self._statistics = statistics
        self._arrived = 0  # bytes that are there, without those that are only promised
        self._kept: set[int] = set()
        self.is_tight = False  # there may be no room to load the next unit while one is in use

    def spread(self, units: list[Unit]) -> None:
        """Chooses the units to keep, for the order that was learnt."""
        order = [unit for unit in dict.fromkeys(self._order.learned)]
        total = sum(units[index].kept_bytes for index in order)
        self.is_tight = False
        if self.limit is None or total <= self.limit:
            self._kept = set(order)
            return
        room = self.limit - _PASSING_UNITS * max((units[index].kept_bytes for index in order), default=0)
        self.is_tight = room < 0
        self._kept = set()
        passed = taken = 0
        for index in order:
            nbytes = units[index].kept_bytes
            passed += nbytes
            if (taken + nbytes) * total <= passed * room:
                taken += nbytes
                self._kept.add(index)

    def stays(self, unit: Unit) -> bool:
        """It is kept from pass to pass."""
        return unit.index in self._kept

    def total(self) -> int:
        """Bytes that count: the weights', and what else torch has on that device, where it says so."""
        used = self._statistics.resident_bytes
        if self._memory.allocated is None:
            return used
        return max(used, self._memory.allocated() + used - self._arrived)

    def make(self, need: int, sooner_than: int = -1, spare: Unit | None = None) -> bool:
        """Evicts units until there is room for `need` more bytes, as `victims` says; False where there isn't. Who has
        to go on (-1) evicts even then."""
        victims = self.victims(need, sooner_than, spare)
        if victims is None and sooner_than >= 0:
            return False
        for unit in self._idle(-1, spare) if victims is None else victims:
            self.evict(unit)
            self._statistics.evictions += 1
        return victims is not None

    def victims(self, need: int, sooner_than: int = -1, spare: Unit | None = None) -> list[Unit] | None:
        """The units to evict; None where they aren't enough. Who loads ahead says when that is used (`sooner_than`):
        none that is kept goes for it, nor one that is used before."""
        if self.limit is None:
            return []
        over = self.total() + need - self.limit
        chosen: list[Unit] = []
        if over <= 0:
            return chosen
        for unit in self._idle(sooner_than, spare):
            chosen.append(unit)
            over -= unit.kept_bytes
            if over <= 0:
                return chosen
        return None

    def _idle(self, sooner_than: int, spare: Unit | None) -> list[Unit]:
        rows = []
        for index, unit in self.resident.items():
            if unit.users or unit.loading or unit is spare:
                continue
            kept, distance = index in self._kept, self._order.distance(index)
            if sooner_than < 0 or not kept and distance > sooner_than:
                rows.append((kept, -distance, index, unit))
        return [row[-1] for row in sorted(rows)]

    def evict(self, unit: Unit) -> None:
        if unit.prepared is not None:
            unit.drop_prepared()
            del self.resident[unit.index]
            self.freed(unit.kept_bytes)

    def promise(self, nbytes: int) -> None:
        """They will be there; until then they count as if they were."""
        statistics = self._statistics
        statistics.resident_bytes += nbytes
        statistics.peak_bytes = max(statistics.peak_bytes, statistics.resident_bytes)

    def kept_promise(self, nbytes: int) -> None:
        self._arrived += nbytes
        self._statistics.bytes_loaded += nbytes

    def broke_promise(self, nbytes: int) -> None:
        self._statistics.resident_bytes -= nbytes

    def freed(self, nbytes: int) -> None:
        self._statistics.resident_bytes -= nbytes
        self._arrived -= nbytes
