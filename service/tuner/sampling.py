"""Optuna's samplers, made so that a proposal depends on what it sees and on nothing else."""

from __future__ import annotations

from typing import Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from service.contract.study import Search
from service.tuner.history import ABSENT, COMPLETE, PRUNED, RUNNING, View
from service.tuner.observation import Coordinates

# It announces every study it creates, and ours are created and thrown away.
optuna.logging.set_verbosity(optuna.logging.ERROR)

Direction = Literal["maximize", "minimize"]
# Crossover needs parents to differ; fewer would breed copies.
_LEAST_POPULATION = 4
_STATES = {
    RUNNING: TrialState.RUNNING,
    COMPLETE: TrialState.COMPLETE,
    PRUNED: TrialState.PRUNED,
}


def seed_of(search: Search, number: int) -> int:
    """The seed of trial `number`'s proposal: none has the same, whoever makes it."""
    return int(np.random.SeedSequence([search.seed, number]).generate_state(1)[0])


def at_random(distributions: dict[str, BaseDistribution], seed: int) -> Coordinates:
    """A point of the space, uniform; what every sampler of Optuna's begins with."""
    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    return dict(study.ask(distributions).params)


class Asked:
    """Proposals of Optuna's own samplers, from an Optuna study kept like the history.

    `nsga2` and `gp`; `gp` needs scipy and torch in the service's environment, and learns nothing
    from pruned trials.
    """

    def __init__(
        self,
        search: Search,
        distributions: dict[str, BaseDistribution],
        directions: list[Direction],
    ) -> None:
        self._search = search
        self._distributions = distributions
        self._directions = directions
        self._begin()

    def propose(self, view: View, number: int) -> Coordinates:
        """Coordinates for trial `number`; the same again for the same view."""
        if not self._follow(view):
            self._begin()
            self._follow(view)
        self._study.sampler = self._sampler(number)
        asked = self._study.ask(self._distributions)
        # A failed trial is invisible to every sampler, so asking leaves no trace.
        self._study.tell(asked, state=TrialState.FAIL)
        self._size += 1
        return dict(asked.params)

    def _begin(self) -> None:
        # Every proposal brings its own sampler; this one only spares Optuna making a default.
        self._storage = optuna.storages.InMemoryStorage()
        self._study = optuna.create_study(
            storage=self._storage, directions=self._directions, sampler=RandomSampler()
        )
        self._size = 0
        self._last = -1
        self._places: dict[int, int] = {}
        self._states = np.zeros(0, np.int8)
        self._points = np.zeros((0, len(self._distributions)))
        #: Trials that generations were read off, and the parents of each generation so far.
        self._bred = np.zeros(0, np.int64)
        self._parents: list[list[FrozenTrial]] = [[]]

    def _follow(self, view: View) -> bool:
        """Bring Optuna's study up to this view; False when it would have to be rebuilt."""
        rows = int(view.numbers[-1]) + 1 if len(view.numbers) else 0
        states = np.zeros(max(rows, len(self._states)), np.int8)
        states[view.numbers] = view.states
        points = np.full((len(states), len(view.names)), np.nan)
        points[view.numbers] = view.points
        old = len(self._states)
        told_states = np.concatenate([self._states, np.zeros(len(states) - old, np.int8)])
        told_points = np.concatenate([self._points, np.full_like(points[old:], np.nan)])
        moved = (points != told_points).any(axis=1) & (states != ABSENT)
        changed = np.flatnonzero((states != told_states) | moved)
        values = dict(zip(view.numbers.tolist(), view.values, strict=True))
        self._states, self._points = states, points
        return all(
            self._tell(number, int(told_states[number]), view.names, values.get(number))
            for number in changed.tolist()
        )

    def _tell(self, number: int, told: int, names: list[str], values: np.ndarray | None) -> bool:
        state, point = int(self._states[number]), self._points[number]
        if told == ABSENT:
            if number < self._last:
                return False  # samplers go by the order of trials, so that must be the numbers'
            self._add(number, state, names, point, values)
            return True
        if told != RUNNING or state == ABSENT:
            return False
        place = self._places[number]
        for name, coordinate in zip(names, point, strict=True):
            self._storage.set_trial_param(place, name, float(coordinate), self._distributions[name])
        if state != RUNNING:
            told_values = None if values is None or state != COMPLETE else values.tolist()
            self._study.tell(place, told_values, _STATES[state])
        return True

    def _add(
        self,
        number: int,
        state: int,
        names: list[str],
        point: np.ndarray,
        values: np.ndarray | None,
    ) -> None:
        params = {
            name: self._distributions[name].to_external_repr(float(coordinate))
            for name, coordinate in zip(names, point, strict=True)
        }
        scores = values.tolist() if values is not None and state == COMPLETE else None
        self._study.add_trial(
            create_trial(
                state=_STATES[state],
                params=params,
                distributions=self._distributions,
                values=scores,
            )
        )
        self._places[number] = self._size
        self._size += 1
        self._last = number

    def _sampler(self, number: int) -> BaseSampler:
        """A sampler without a past, seeded by the study's seed and the proposal's number."""
        seed = seed_of(self._search, number)
        if self._search.sampler == "gp":
            return GPSampler(
                seed=seed, n_startup_trials=self._search.startup, warn_independent_sampling=False
            )
        population = max(self._search.startup, _LEAST_POPULATION)
        return _NumberedGenerations(
            seed=seed, population=population, parents=self._known_parents(population)
        )

    def _known_parents(self, population: int) -> list[list[FrozenTrial]]:
        """Parents that still hold: a late end among early numbers changes all generations after."""
        complete = np.flatnonzero(self._states == COMPLETE)
        both = min(len(complete), len(self._bred))
        differ = np.flatnonzero(complete[:both] != self._bred[:both])
        same = int(differ[0]) if len(differ) else both
        self._bred = complete
        del self._parents[same // population + 1 :]
        return self._parents


class _NumberedGenerations(NSGAIISampler):
    """NSGA-II whose generations are read off the complete trials, in order of their numbers.

    Optuna writes a trial's generation into the trial when it is proposed, and the parents into the
    study; a memory rebuilt from rows has neither, and would start over.
    """

    def __init__(self, *, seed: int, population: int, parents: list[list[FrozenTrial]]) -> None:
        super().__init__(seed=seed, population_size=population)
        self._population = population
        self._parents = parents

    def get_trial_generation(self, study: Study, trial: FrozenTrial) -> int:
        return len(_complete(study)) // self._population

    def get_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        first = generation * self._population
        return _complete(study)[first : first + self._population]

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        # Each generation's parents come from the one before; from the first on, or the recursion
        # would be as deep as the study is old.
        for born in range(len(self._parents), generation + 1):
            self._parents.append(self.select_parent(study, born))
        return self._parents[generation]


def _complete(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
