"""Two ways of computing one thing, timed in turns, with their difference."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

#: A burst of calls is timed as one: long enough for the clock, short against the noise of neighbours.
_BURST = 0.01
_LEAST_ROUNDS = 5


#: Computes a value and gradients.
Step: TypeAlias = Callable[[], tuple[Tensor, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class Way:
    """One way: what computes the value, and the tensors whose gradient is wanted, too."""

    value: Callable[[], Tensor]
    inputs: Sequence[Tensor]

    def __call__(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return value and gradients: one forward and one backward pass."""
        value = self.value()
        return value.detach(), torch.autograd.grad(value, list(self.inputs))


@dataclass(frozen=True)
class Duel:
    """Milliseconds of both sides, how many times faster the first is, and how far apart they are."""

    ours: float
    theirs: float
    ratio: float  #: theirs / ours, median over pairs of neighbouring bursts
    value_gap: float  #: relative difference of the values
    gradient_gap: float  #: ‖difference‖ / ‖gradient‖


def duel(
    ours: Callable[[], object], theirs: Callable[[], object], seconds: float
) -> tuple[float, float, float]:
    """Return milliseconds of both, medians, and their ratio; in turns, for about `seconds`."""
    sides = (ours, theirs)
    for side in sides:  # the first call finds memory and picks algorithms
        side()
    calls = [max(1, round(_BURST / burst(side, 1))) for side in sides]
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < _LEAST_ROUNDS:
        order = (0, 1) if len(times[0]) % 2 else (1, 0)
        for which in order:
            times[which].append(burst(sides[which], calls[which]))
    ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
    return 1e3 * statistics.median(times[0]), 1e3 * statistics.median(times[1]), ratio


def burst(side: Callable[[], object], calls: int) -> float:
    """Return seconds a call, of `calls` in a row: until the GPU has finished, or of processor time.

    Processor time, of this one thread, does not grow while other processes have the core.
    """
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    wait()
    began = clock()
    for _ in range(calls):
        side()
    wait()
    return (clock() - began) / calls


def wait() -> None:
    """Wait for the device to finish what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def gap(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """Return ‖ours - theirs‖ / ‖theirs‖ over all tensors together."""
    a, b = (torch.cat([x.double().flatten() for x in side]) for side in (ours, theirs))
    return float((a - b).norm() / b.norm().clamp_min(1e-30))


def compare(ours: Step, theirs: Step, seconds: float) -> Duel:
    """Return times and differences of two ways of computing one value and its gradients."""
    (value, slopes), (their_value, their_slopes) = ours(), theirs()
    gaps = gap([value], [their_value]), gap(slopes, their_slopes)
    return Duel(*duel(ours, theirs, seconds), *gaps)
