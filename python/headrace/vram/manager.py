"""Manager: which units of a model are in memory, under a limit."""

from __future__ import annotations

import threading
import time
from typing import Any

from .._errors import Error
from .ahead import Ahead
from .config import Config
from .memory import Memory
from .order import Order
from .prefetcher import Prefetcher
from .room import Room, Statistics
from .units import OFFLOAD, ONLOAD, Unit


class Manager:
    """Brings units to where they are computed, before their forward where it knows the order, and lets go of those
    whose next use is farthest when there is no room.

    A thread that uses a unit holds it until it is done. ``limit`` bytes (None: as many as there are) are never passed,
    but for what must be there at once: a unit that is alone in use, and those around it. Thread-safe.
    """

    def __init__(self, config: Config, limit: int | None) -> None:
        self.config = config
        self.limit = limit
        self.units: list[Unit] = []
        self.statistics = Statistics()
        self.memory = Memory(config.computation.device)
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting = 0  # threads
        self._here = threading.local()  # .depth: units that this thread is in
        self._running = 0  # threads that are in a unit, and don't wait
        self._loads = 0  # under way
        self._prefetcher = Prefetcher(self)
        self.manage([], 0)

    def manage(self, units: list[Unit], pinned_bytes: int) -> None:
        """`pinned_bytes`: of weights and buffers that are always there."""
        self.units = units
        self._order = Order(len(units))
        self._room = Room(self.limit, self.memory, self._order, self.statistics)
        self._room.spread(units)
        for unit in units:
            unit.look_ahead(self._room.stays(unit))
        self._room.promise(pinned_bytes)
        self._room.kept_promise(pinned_bytes)
        self._ahead = Ahead(units, self._order, self._room)

    def begin_pass(self) -> None:
        """The whole model is called: all of it will be wanted."""
        with self._lock:
            if self._order.begin():
                self._room.spread(self.units)
            self._ahead.begin_pass()
            self.statistics.passes += 1
            for unit in self.units:
                unit.wanted = ONLOAD
                if self.config.onload == unit.home and not unit.loading:
                    unit.state = ONLOAD

    def end_pass(self) -> None:
        with self._lock:
            if self._order.end():
                self._room.spread(self.units)

    # --- what a unit's forward calls

    def acquire(self, unit: Unit) -> None:
        """The unit's weights are there, and stay until ``release``. Raises what reading them raises."""
        depth = self._here.__dict__.get("depth", 0)
        with self._lock:
            self.statistics.uses += 1
            if unit.users == 0:
                unit.wanted = ONLOAD  # it is needed, whoever forgot to say so
            if depth:
                self._running -= 1
                self._tell()
            try:
                self._bring(unit)
                unit.users += 1
                if unit.users == 1:
                    unit.install()
            finally:
                if depth:
                    self._running += 1
            if not depth:
                self._running += 1
            self._here.depth = depth + 1
            read = self._ahead.to_read(unit)
            work = self._ahead.next() is not None  # a thread that wakes for nothing costs as much as a small unit
        self.memory.used_on(unit.computing or unit.prepared or ())
        if read and unit.disk_map.prefetch(read):
            self._ahead.found_missing()
        if work:
            self._prefetcher.wake()

    def release(self, unit: Unit) -> None:
        with self._lock:
            depth = self._here.depth = self._here.depth - 1
            if depth == 0:
                self._running -= 1
            unit.users -= 1
            broken = self._broken(unit)
            if unit.users == 0:
                unit.uninstall()
                if unit.computing is not None:
                    unit.computing = None
                    self._room.freed(unit.passing_bytes)
                if broken or not self.config.keeps:
                    self._room.evict(unit)
                elif self.limit == 0:  # there is nobody else to choose
                    self._room.evict(unit)
                    self.statistics.evictions += 1
                if broken:
                    unit.unmap()
                self._room.make(0)
                if unit.state != unit.wanted:
                    self._settle(unit)
            self._tell()
        if broken:
            raise broken

    @staticmethod
    def _broken(unit: Unit) -> Error | None:
        """What its file became while it was used in place."""
        try:
            unit.require_intact()
        except Error as error:
            return error
        return None

    def _bring(self, unit: Unit) -> None:
        """Waits for room and loads; returns with everything there. With the lock, which it lets go of meanwhile."""
        begun = time.perf_counter()
        waited = False
        entered = False
        while True:
            if unit.loading or (unit.users == 0 and unit.state != unit.wanted):
                waited = True
                if unit.loading:
                    self._wait()
                else:
                    self._settle(unit)
                continue
            if not entered:  # its own distance would be 0 until now
                self._order.enter(unit.index)
                entered = True
            if unit.users == 0 and unit.prepared is not None:
                broken = self._broken(unit)
                if broken or (self.limit is not None and unit.is_lost()):
                    self._room.evict(unit)  # it is read again, and that says what is wrong
                if broken:
                    unit.unmap()
            need = unit.missing_bytes
            if need == 0:
                break
            waited = True
            if not self._room.make(need, spare=unit) and (self._running or self._loads):
                self._wait()
                continue
            self._load(unit, need)
            self.statistics.loads += 1
            break
        if waited:
            self.statistics.stalls += 1
            self.statistics.stall_seconds += time.perf_counter() - begun

    def _load(self, unit: Unit, need: int) -> None:
        """With the lock, which it lets go of while it reads."""
        prepared, computing, how = unit.prepared, unit.computing, self._how(unit)
        self._begin(unit, need)
        try:
            self._lock.release()
            try:
                if prepared is None and unit.kept is not None:
                    unit.prepared = unit.load_kept(self.memory, *how)
                if computing is None and unit.passing is not None:
                    computing = unit.load_passing(self.memory)
            finally:
                self._lock.acquire()
        except BaseException:
            if prepared is None:
                unit.drop_prepared()
            self._end(unit, need, False)
            raise
        unit.computing = computing
        self._end(unit, need, True)
        if prepared is None:
            self._ahead.loaded(unit)

    def _load_ahead(self, unit: Unit) -> None:
        """The same, of what is kept."""
        need, prepared, how = unit.kept_bytes, None, self._how(unit)
        self._begin(unit, need)
        try:
            self._lock.release()
            try:
                prepared = unit.load_kept(self.memory, *how)
            finally:
                self._lock.acquire()
        finally:
            unit.prepared = prepared
            self.statistics.loads_ahead += prepared is not None
            self._end(unit, need, prepared is not None)

    def _how(self, unit: Unit) -> tuple[bool, bool]:
        """Without a limit all may be in memory, and pages of the system's cache are the cheapest: it can take them back.
        Of what a limit keeps nothing shall come back from the disk."""
        return self.limit is not None, self._room.stays(unit)

    def _begin(self, unit: Unit, need: int) -> None:
        unit.loading = True
        self._loads += 1
        self._room.promise(need)

    def _end(self, unit: Unit, need: int, well: bool) -> None:
        unit.loading = False
        unit.failed = not well  # who uses it reads it again, and is told
        self._loads -= 1
        if well:
            self._room.kept_promise(need)
            if unit.prepared is not None:
                self._room.resident[unit.index] = unit
        else:
            self._room.broke_promise(need)
        self._tell()

    def _wait(self) -> None:
        self._waiting += 1
        try:
            self._changed.wait()
        finally:
            self._waiting -= 1

    def _tell(self) -> None:
        if self._waiting:
            self._changed.notify_all()

    # --- states

    def want(self, unit: Unit, state: int) -> None:
        """Offloads or onloads a unit: now, or when the last that uses it is done."""
        with self._lock:
            unit.wanted = state
            while unit.loading:
                self._wait()
            if unit.users == 0 and (unit.state != unit.wanted or state == OFFLOAD):
                self._settle(unit)
        if state == OFFLOAD:
            self.memory.pool.trim()
            unit.release_ahead()

    def prepare(self, unit: Unit) -> None:
        """Loads a unit to where it is prepared, if it has to and there is room."""
        with self._lock:
            unit.wanted = ONLOAD
            while unit.loading or (unit.users == 0 and unit.state != unit.wanted):
                if unit.loading:
                    self._wait()
                else:
                    self._settle(unit)
            if unit.users or unit.prepared is not None or unit.kept is None or not self.config.keeps:
                return
            if self._room.make(unit.kept_bytes, self._order.distance(unit.index)):
                self._load_ahead(unit)

    def _settle(self, unit: Unit) -> None:
        """A unit that nobody uses goes to the state that it shall have. With the lock, which it lets go of."""
        self._room.evict(unit)
        state = unit.wanted
        place = self.config.offload if state == OFFLOAD else self.config.onload
        if place == unit.home:
            unit.state = state
            return
        unit.loading = True
        self._lock.release()
        try:
            unit.rest_at(place)
            unit.state = state
        finally:
            self._lock.acquire()
            unit.loading = False
            self._tell()

    # --- ahead of use; the prefetcher's thread calls it

    def step(self) -> bool:
        """Loads the next unit that will be wanted, if there is room for it; True when there may be more to do."""
        with self._lock:
            unit = self._ahead.next()
            if unit is not None:
                self._room.make(unit.kept_bytes, self._order.distance(unit.index))
                self._load_ahead(unit)
                return True
        return False

    def close(self) -> None:
        """Ends the thread that reads ahead; the model goes on without."""
        self._prefetcher.close()

    def __reduce__(self) -> Any:
        from .._errors import refuse

        raise refuse("a model under management can't be copied or pickled: its weights aren't all in it",
                     code="unsupported", hint="copy the model before enable_vram_management")
