"""What the sampler knows of a study: our rows, told to an Optuna study in this process."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from service.contract.study import StudyDefinition
from service.contract.vocabulary import Vocabulary
from service.tuner.sampling import fresh_sampler
from service.tuner.space import Coordinates, Space

State = Literal["running", "complete", "pruned", "failed"]

_STATES: dict[State, TrialState] = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


@dataclass(frozen=True)
class Observation:
    """What became of one trial.

    Queued trials are `running` too: the sampler then keeps away from them. `values` are the
    objectives of a complete trial, in the study's order. Without coordinates (weights outside of
    the searched ranges) the sampler learns nothing; `importance` can still use the shares.
    """

    number: int
    coordinates: Coordinates | None
    state: State
    values: list[float] | None = None
    shares: Mapping[str, float] = field(default_factory=dict)


class ContradictoryObservation(ValueError):
    """A finished trial is said to have ended in another way."""


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
        self._directions = [vocabulary.metrics[name].direction for name in definition.objectives]
        self._distributions = Space(definition, vocabulary).distributions()
        self._seen: dict[int, Observation] = {}
        self._stale: set[int] = set()
        self._study = self._empty_study()
        self._told: dict[int, tuple[int, Coordinates]] = {}
        self._size = 0
        for observation in observations:
            self.observe(observation)

    def observe(self, observation: Observation) -> None:
        """Take in a trial; again and again is fine, and `running` never undoes an end.

        Raises `ContradictoryObservation` for a second, different end, and ValueError for
        coordinates or values that do not belong to this study.
        """
        self._check(observation)
        known = self._seen.get(observation.number)
        if known is not None and known.state != "running":
            if observation.state != "running" and observation != known:
                raise ContradictoryObservation(
                    f"trial {known.number} ended as {known.state} {known.values or ''} and is now "
                    f"said to be {observation.state} {observation.values or ''}; an end is final"
                )
            return
        if observation != known:
            self._seen[observation.number] = observation
            self._stale.add(observation.number)

    def propose(self, number: int) -> Coordinates:
        """Coordinates for trial `number`; the same again for the same observations."""
        self._catch_up()
        self._study.sampler = fresh_sampler(self._definition.search, number)
        asked = self._study.ask(self._distributions)
        # A failed trial is invisible to every sampler, so asking leaves no trace.
        self._study.tell(asked, state=TrialState.FAIL)
        self._size += 1
        return dict(asked.params)

    def _catch_up(self) -> None:
        if not all(self._tell(self._seen[number]) for number in sorted(self._stale)):
            self._study = self._empty_study()
            self._told, self._size = {}, 0
            for number in sorted(self._seen):
                self._tell(self._seen[number])
        self._stale.clear()

    def _tell(self, seen: Observation) -> bool:
        """Bring Optuna's study up to this observation; False when it would have to be rebuilt."""
        told = self._told.get(seen.number)
        if told is not None:
            place, coordinates = told
            if coordinates != seen.coordinates:
                return False
            if seen.state != "running":
                self._study.tell(place, seen.values, _STATES[seen.state])
            return True
        if seen.coordinates is None or seen.state == "failed":
            return True
        if self._told and seen.number < next(reversed(self._told)):
            return False  # TPE weighs trials by their order, so that must be the numbers'
        self._study.add_trial(self._frozen(seen))
        self._told[seen.number] = (self._size, seen.coordinates)
        self._size += 1
        return True

    def _frozen(self, seen: Observation) -> FrozenTrial:
        return optuna.trial.create_trial(
            state=_STATES[seen.state],
            params=dict(seen.coordinates or {}),
            distributions=self._distributions,
            # JSON gives back 30.0 as 30, and Optuna's arithmetic on whole numbers fails.
            values=None if seen.values is None else [float(value) for value in seen.values],
        )

    def _empty_study(self) -> optuna.Study:
        # Every proposal brings its own sampler; this one only spares Optuna making a default.
        sampler = optuna.samplers.RandomSampler()
        return optuna.create_study(directions=self._directions, sampler=sampler)

    def _check(self, seen: Observation) -> None:
        if (seen.state == "complete") != (seen.values is not None):
            raise ValueError(f"trial {seen.number} is {seen.state}; only complete ones have values")
        if seen.values is not None and (
            len(seen.values) != len(self._directions) or not all(map(math.isfinite, seen.values))
        ):
            raise ValueError(
                f"trial {seen.number} has values {seen.values}; give {len(self._directions)} "
                f"finite ones, of {', '.join(self._definition.objectives)}"
            )
        if seen.coordinates is not None and seen.coordinates.keys() != self._distributions.keys():
            raise ValueError(
                f"trial {seen.number} has coordinates {sorted(seen.coordinates)}; the space's are "
                f"{sorted(self._distributions)}"
            )
