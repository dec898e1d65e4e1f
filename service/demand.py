"""How many proposals a study should have ready, by how fast its trials are taken."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

#: Proposals ready at most: more would be stale before they are tried.
DEEPEST = 256
_WINDOW_SECONDS = 2.0
#: Proposals last this long at the present rate: the time to think up as many again, with reserves.
_RESERVE_SECONDS = 1.0


@dataclass(frozen=True)
class Slots:
    """Places for trials of a study at workers that are there, and how many of them are free."""

    live: int
    idle: int


@dataclass
class Demand:
    """How fast one study's trials are leased, as seen from its numbers."""

    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def note(self, leased: int, *, at: float | None = None) -> None:
        """Trials ever leased, now."""
        at = time.monotonic() if at is None else at
        self._seen.append((at, leased))
        # One look from before the window stays: the rate is counted from there.
        while len(self._seen) > 1 and self._seen[1][0] <= at - _WINDOW_SECONDS:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """Leases per second, over the last two."""
        if not self._seen:
            return 0.0
        (first, before), (last, leased) = self._seen[0], self._seen[-1]
        return (leased - before) / max(last - first, _WINDOW_SECONDS)

    def depth(self, ahead: int, *, waiting: int, slots: Callable[[], Slots]) -> int:
        """Proposals to keep ready; `ahead` unless trials are taken faster than that.

        Or unless none is `waiting` while more slots are idle: then one for each. With no more than
        `ahead` slots it is always `ahead`: proposals then depend on the order of leases and ends
        alone.
        """
        wanted = math.ceil(self.rate * _RESERVE_SECONDS)
        if wanted <= ahead and waiting:
            return ahead
        there = slots()
        if there.live <= ahead:
            return ahead
        if not waiting:
            wanted = max(wanted, there.idle)
        return max(min(wanted, DEEPEST), ahead)
