"""A study's trials as arrays: what the sampler knows, at any time of the study's clock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from optuna.distributions import BaseDistribution

from service.tuner.observation import ContradictoryObservation, Coordinates, Observation, State

#: What a row can be. A trial nobody told of, or without coordinates, teaches nothing: ABSENT.
ABSENT, RUNNING, COMPLETE, PRUNED, FAILED = range(5)
_CODES: dict[State, int] = {
    "running": RUNNING,
    "complete": COMPLETE,
    "pruned": PRUNED,
    "failed": FAILED,
}
_FIRST_ROWS = 64
#: Later than any clock: every end that was told counts.
ALWAYS = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class View:
    """The trials as they looked at some time; row i is trial `numbers[i]`, numbers rise.

    `points` holds Optuna's internal representation of the coordinates, columns by `names`.
    """

    names: list[str]
    numbers: np.ndarray
    states: np.ndarray
    points: np.ndarray
    values: np.ndarray


class History:
    """Trials by number, in arrays: some 100 bytes each, so that 100,000 of them are no burden."""

    def __init__(self, distributions: dict[str, BaseDistribution], objectives: int) -> None:
        self.distributions = distributions
        self.names = sorted(distributions)  # the order in which Optuna models them
        self._states = np.zeros(_FIRST_ROWS, np.int8)
        self._ended = np.zeros(_FIRST_ROWS, np.int64)
        self._points = np.full((_FIRST_ROWS, len(self.names)), np.nan)
        self._values = np.full((_FIRST_ROWS, objectives), np.nan)

    def put(self, seen: Observation) -> None:
        """Take in a trial; `running` never undoes an end, and a second, different end is refused."""
        number, code = seen.number, _CODES[seen.state]
        self._grow(number + 1)
        point = self.internal(seen.coordinates)
        values = np.nan if seen.values is None else np.asarray(seen.values, float)
        if self._states[number] > RUNNING:
            if code != RUNNING and not self._is(number, code, point, values):
                raise ContradictoryObservation(
                    f"trial {number} ended as {self._told(number)} and is now said to be "
                    f"{seen.state} {seen.values or ''}; an end is final"
                )
            return
        self._states[number], self._ended[number] = code, seen.clock
        self._points[number], self._values[number] = point, values

    def at(self, clock: int, *, without: Collection[int] = ()) -> View:
        """What was known then: later ends still look like running trials.

        `without` are numbers that count as not there.
        """
        states = self._states.copy()
        states[(states > RUNNING) & (self._ended > clock)] = RUNNING
        states[np.isnan(self._points).any(axis=1) | (states == FAILED)] = ABSENT
        states[[number for number in without if number < len(states)]] = ABSENT
        rows = np.flatnonzero(states)
        return View(self.names, rows, states[rows], self._points[rows], self._values[rows])

    def internal(self, coordinates: Coordinates | None) -> np.ndarray:
        """Coordinates as Optuna counts with them; NaN without any."""
        if coordinates is None:
            return np.full(len(self.names), np.nan)
        return np.array(
            [self.distributions[name].to_internal_repr(coordinates[name]) for name in self.names],
            float,
        )

    def external(self, point: np.ndarray) -> Coordinates:
        """The coordinates of a row, in the order in which the space lists them."""
        places = {name: place for place, name in enumerate(self.names)}
        return {
            name: distribution.to_external_repr(float(point[places[name]]))
            for name, distribution in self.distributions.items()
        }

    def _is(self, number: int, code: int, point: np.ndarray, values: np.ndarray | float) -> bool:
        scores = np.broadcast_to(values, self._values[number].shape)
        return (
            int(self._states[number]) == code
            and np.array_equal(self._points[number], point, equal_nan=True)
            and np.array_equal(self._values[number], scores, equal_nan=True)
        )

    def _told(self, number: int) -> str:
        words = {code: word for word, code in _CODES.items()}
        word = words[int(self._states[number])]
        return f"{word} {self._values[number].tolist()}" if word == "complete" else word

    def _grow(self, rows: int) -> None:
        if rows <= len(self._states):
            return
        more = max(rows, 2 * len(self._states)) - len(self._states)
        self._states = np.concatenate([self._states, np.zeros(more, np.int8)])
        self._ended = np.concatenate([self._ended, np.zeros(more, np.int64)])
        for name in ("_points", "_values"):
            old = getattr(self, name)
            blank = np.full((more, old.shape[1]), np.nan)
            setattr(self, name, np.concatenate([old, blank]))
