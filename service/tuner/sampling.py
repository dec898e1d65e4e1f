"""Optuna's samplers, made so that a proposal depends on what it sees and on nothing else."""

from __future__ import annotations

import numpy as np
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from service.contract.study import Search

# Crossover needs parents to differ; fewer would breed copies.
_LEAST_POPULATION = 4


def fresh_sampler(search: Search, number: int) -> BaseSampler:
    """A sampler without a past, seeded by the study's seed and the proposal's number.

    Options are spelled out where their defaults have changed between versions. TPE is not grouped:
    every trial has every coordinate (a term that is off keeps its own), so there is one group.
    `gp` needs scipy and torch in the service's environment, and learns nothing from pruned trials.
    """
    seed = int(np.random.SeedSequence([search.seed, number]).generate_state(1)[0])
    match search.sampler:
        case "tpe":
            return TPESampler(
                seed=seed, n_startup_trials=search.startup, multivariate=True, constant_liar=True
            )
        case "gp":
            return GPSampler(
                seed=seed, n_startup_trials=search.startup, warn_independent_sampling=False
            )
        case "nsga2":
            return _NumberedGenerations(
                seed=seed, population=max(search.startup, _LEAST_POPULATION)
            )
        case "random":
            return RandomSampler(seed=seed)


class _NumberedGenerations(NSGAIISampler):
    """NSGA-II whose generations are read off the complete trials, in order of their numbers.

    Optuna writes a trial's generation into the trial when it is proposed, and the parents into the
    study; a memory rebuilt from rows has neither, and would start over.
    """

    def __init__(self, *, seed: int, population: int) -> None:
        super().__init__(seed=seed, population_size=population)
        self._population = population
        self._parents: list[list[FrozenTrial]] = [[]]

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
