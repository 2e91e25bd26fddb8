"""Order: which unit is used after which, learnt from the last pass."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator


class Order:
    """The units' uses in the order of a pass, and where in it the model is now.

    Until a pass has gone by it is the order of definition. A pass begins with the model's own forward; where a part of
    it is called instead, with the unit that the pass before began with. Not thread-safe: its manager locks.
    """

    def __init__(self, units: int) -> None:
        self._learn(list(range(units)))
        self._seen: list[int] = []  # of this pass
        self._cursor = 0  # the next use's place in what was learnt
        self._whole = False  # this pass began with the model's forward

    def begin(self, whole: bool = True) -> bool:
        """A pass begins; true when the one before had another order than was known."""
        other = len(self._seen) > 1 and self._seen != self.learned
        if other:
            self._learn(self._seen)
        self._seen = []
        self._cursor = 0
        self._whole = whole
        return other

    def end(self) -> bool:
        return self.begin(whole=False)

    def enter(self, unit: int) -> None:
        """A unit is used now."""
        expected = self.learned[self._cursor] if self._cursor < len(self.learned) else None
        if unit != expected:
            if not self._whole and self._seen and unit == self._seen[0]:
                self.begin(whole=False)
            places = self._places.get(unit)
            if places is not None:
                i = bisect.bisect_left(places, self._cursor)
                self._cursor = places[i] if i < len(places) else places[0]
        if unit in self._places:
            self._cursor += 1
        # A pass that never ends as it began isn't kept for ever.
        if len(self._seen) < 64 * len(self.learned) + 64:
            self._seen.append(unit)

    def distance(self, unit: int) -> int:
        """How many uses of others come before its next; of one that isn't used, more than of any that is."""
        length = len(self.learned)
        places = self._places.get(unit)
        if places is None:
            return 2 * length + 1
        i = bisect.bisect_left(places, self._cursor)
        return places[i] - self._cursor if i < len(places) else places[0] + length - self._cursor

    def upcoming(self, most: int) -> Iterator[int]:
        """The next uses, of the next pass too. It mustn't change meanwhile."""
        learned, cursor = self.learned, self._cursor
        return itertools.islice(itertools.chain(itertools.islice(learned, cursor, None),
                                                itertools.islice(learned, cursor)), most)

    def _learn(self, order: list[int]) -> None:
        self.learned = list(order)
        self._places: dict[int, list[int]] = {}
        for place, unit in enumerate(self.learned):
            self._places.setdefault(unit, []).append(place)
