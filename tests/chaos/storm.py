"""A storm: faults at random times, each so many times, while the installation works."""

from __future__ import annotations

import heapq
import itertools
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.faults import FAULTS, impossible
from tests.chaos.history import Operation
from tests.chaos.site import Site
from tests.chaos.wire import CLEAR

_TICK = 0.02
#: A fault is felt for so long after it was mended.
_ECHO = 1.0


@dataclass(frozen=True)
class Plan:
    """How often a fault is made, and the mean number of seconds between."""

    times: int
    every: float


@dataclass
class Injected:
    """One fault, and when it was there, by the history's clock."""

    fault: str
    begun: float
    ended: float


def rage(
    site: Site,
    plans: Mapping[str, Plan],
    *,
    seconds: float,
    enough: Callable[[], bool] = lambda: True,
    tell: Callable[[list[Injected]], None] = lambda done: None,
) -> list[Injected]:
    """Make all faults of the plans, or as many as fit into so many seconds; everything mended.

    When all are made the storm goes on until `enough`.
    """
    draw = random.Random(site.seed)
    left = {name: plan.times for name, plan in plans.items() if name not in impossible(site)}
    done: list[Injected] = []
    due: list[tuple[float, int, Injected, Iterator[float] | None]] = []
    numbers = itertools.count()
    began = told = time.monotonic()

    def schedule(name: str) -> None:
        if left[name] > 0:
            first = left[name] == plans[name].times
            left[name] -= 1
            # The first one early, so that even a short storm has something of everything.
            at = time.monotonic() + plans[name].every * draw.uniform(0, 1 if first else 2)
            heapq.heappush(due, (at, next(numbers), Injected(name, at, at), None))

    for name in left:
        schedule(name)
    while (due or not enough()) and time.monotonic() - began < seconds:
        site.keeper.tend()
        if time.monotonic() - told > 30:
            told = time.monotonic()
            tell(done)
        if not due or due[0][0] > time.monotonic():
            time.sleep(_TICK)
            continue
        _, _, injected, acting = heapq.heappop(due)
        if acting is None:
            acting = FAULTS[injected.fault](site, draw)
            injected.begun = time.monotonic()
            done.append(injected)
        pause = next(acting, None)
        injected.ended = time.monotonic()
        if pause is None:
            schedule(injected.fault)
        else:
            heapq.heappush(due, (time.monotonic() + pause, next(numbers), injected, acting))
    mend(site, [acting for _, _, _, acting in due if acting is not None])
    return done


def mend(site: Site, acting: Sequence[Iterator[float]] = ()) -> None:
    """End every fault that is still there."""
    for each in acting:
        for _ in each:
            pass
    site.wire.usual = site.wire.weather = CLEAR
    for kept in site.keeper.kept:
        kept.signal(signal.SIGCONT, group=True)
    if site.wrong_clock is not None:
        site.wrong_clock.jump("-3h")


def touched(injected: Sequence[Injected], operations: Sequence[Operation]) -> dict[str, int]:
    """Per fault, how many operations were under way while it was there or just after."""
    count = dict.fromkeys((one.fault for one in injected), 0)
    for name in count:
        spans = [(one.begun, one.ended + _ECHO) for one in injected if one.fault == name]
        merged = _merged(spans)
        count[name] = sum(
            any(begun <= (o.ended or o.begun) and o.begun <= ended for begun, ended in merged)
            for o in operations
        )
    return count


def _merged(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for begun, ended in sorted(spans):
        if merged and begun <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], ended))
        else:
            merged.append((begun, ended))
    return merged
