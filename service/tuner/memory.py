"""What the sampler knows of a study, and what it proposes from that."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from service.contract.study import StudyDefinition
from service.contract.vocabulary import Vocabulary
from service.tuner import parzen
from service.tuner.history import ALWAYS, COMPLETE, PRUNED, History, View
from service.tuner.observation import Coordinates, Observation
from service.tuner.sampling import Asked, at_random, seed_of
from service.tuner.space import Space


class Memory:
    """Proposals for one study, from everything observed so far; for one thread at a time.

    A proposal depends on the definition, the observations (in order of their numbers, whatever the
    order in which they came) and its own number. What trials teach: complete ones their values;
    running ones where not to look (constant liar); pruned ones, because with several objectives
    Optuna cannot use scores at rungs, only that their region is worse than any complete trial's;
    failed ones nothing.
    """

    def __init__(
        self,
        definition: StudyDefinition,
        vocabulary: Vocabulary,
        observations: Iterable[Observation] = (),
    ) -> None:
        self._definition = definition
        directions = [vocabulary.metrics[name].direction for name in definition.objectives]
        self._signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
        self._distributions = Space(definition, vocabulary).distributions()
        self._history = History(self._distributions, len(directions))
        self._asked = Asked(definition.search, self._distributions, list(directions))
        for observation in observations:
            self.observe(observation)

    def observe(self, observation: Observation) -> None:
        """Take in a trial; again and again is fine, and `running` never undoes an end.

        Raises `ContradictoryObservation` for a second, different end, and ValueError for
        coordinates or values that do not belong to this study.
        """
        self._check(observation)
        self._history.put(observation)

    def propose(self, number: int, *, clock: int = ALWAYS) -> Coordinates:
        """Coordinates for trial `number`; the same again for the same observations."""
        return self.propose_together([number], clock=clock)[0]

    def propose_together(self, numbers: Sequence[int], *, clock: int = ALWAYS) -> list[Coordinates]:
        """Coordinates for several trials that do not know of each other, from one fit.

        Ends after `clock`, of the study's clock, are not known yet. A trial that is proposed again
        is not known either. `gp` and `nsga2` fit for each.
        """
        view = self._history.at(clock, without=numbers)
        search = self._definition.search
        if search.sampler == "random" or self._is_young(view):
            return [at_random(self._distributions, seed_of(search, number)) for number in numbers]
        if search.sampler == "tpe":
            seeds = [seed_of(search, number) for number in numbers]
            points = parzen.propose(view, self._distributions, self._signs, seeds)
            return [self._history.external(point) for point in points]
        return [self._asked.propose(view, number) for number in numbers]

    def _is_young(self, view: View) -> bool:
        """Whether TPE has too little to model."""
        finished = np.isin(view.states, (COMPLETE, PRUNED)).sum()
        return self._definition.search.sampler == "tpe" and (
            int(finished) < self._definition.search.startup
        )

    def _check(self, seen: Observation) -> None:
        if (seen.state == "complete") != (seen.values is not None):
            raise ValueError(f"trial {seen.number} is {seen.state}; only complete ones have values")
        objectives = self._definition.objectives
        if seen.values is not None and (
            len(seen.values) != len(objectives) or not all(map(math.isfinite, seen.values))
        ):
            raise ValueError(
                f"trial {seen.number} has values {seen.values}; give {len(objectives)} "
                f"finite ones, of {', '.join(objectives)}"
            )
        if seen.coordinates is not None and seen.coordinates.keys() != self._distributions.keys():
            raise ValueError(
                f"trial {seen.number} has coordinates {sorted(seen.coordinates)}; the space's are "
                f"{sorted(self._distributions)}"
            )
