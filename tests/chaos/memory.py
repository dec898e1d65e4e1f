"""I8, the sampler's half: a memory rebuilt from the rows knows what the rows say, and no more."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from service.contract.study import StudyDefinition
from service.contract.trial import Calibration, TrialKind, TrialState
from service.contract.vocabulary import Vocabulary
from service.db import Database
from service.memories import Memories
from service.models import Study
from service.tuner import ContradictoryObservation, Observation, Space
from service.tuner.memory import Memory
from service.tuner.mind import Proposal
from tests.chaos.checker import Violation
from tests.chaos.tables import Tables

#: What the sampler is told of a trial in this state.
_TAUGHT = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.DIVERGED: "pruned",
    TrialState.FAILED: "failed",
    TrialState.CANCELLED: "failed",
}
_ROUNDING = 1e-9


class Listener:
    """A sampler that thinks of nothing and keeps what it is told."""

    def __init__(self) -> None:
        self.told: dict[str, list[Observation]] = defaultdict(list)

    def begin(self) -> None:
        return

    def meet(
        self,
        study: str,
        definition: StudyDefinition,
        vocabulary: Vocabulary,
        calibration: Calibration,
    ) -> None:
        self.told[study] = []

    def tell(self, study: str, observations: Sequence[Observation]) -> None:
        self.told[study] += observations

    def propose(self, study: str, numbers: Sequence[int], clock: int) -> list[Proposal]:
        raise AssertionError("nobody asks here")

    def keep(self, studies: set[str]) -> None:
        return


def memory_violations(
    database: Database, tables: Tables, vocabulary: Vocabulary, *, seed: int
) -> list[Violation]:
    """Where memories rebuilt from the rows and the rows themselves disagree."""
    listener = Listener()
    memories = Memories(vocabulary, listener)
    with database.reading() as session:
        for row in tables.studies:
            if row["calibration"] is not None:
                memories.catch_up(session, session.get_one(Study, row["id"]))
    found = []
    for row in tables.studies:
        if row["calibration"] is not None:
            trials = [t for t in tables.trials if t["study_id"] == row["id"]]
            told = listener.told[row["id"]]
            found += [Violation("I8", s) for s in _disagreements(row, trials, told)]
            found += [Violation("I8", s) for s in _unlearnable(row, told, vocabulary, seed)]
            found += [Violation("I8", s) for s in _other_points(row, trials, vocabulary)]
    return found


def _disagreements(
    study: dict[str, Any], trials: list[dict[str, Any]], told: list[Observation]
) -> Iterator[str]:
    objectives = study["definition"]["objectives"]
    expected = {
        trial["number"]: trial
        for trial in trials
        if trial["kind"] == TrialKind.SEARCH and trial["coordinates"]
    }
    numbers = [one.number for one in told]
    if sorted(numbers) != sorted(expected):
        yield f"study {study['id']}: {len(numbers)} observations of {len(expected)} trials"
    for one in told:
        trial = expected.get(one.number)
        if trial is None:
            continue
        state = _TAUGHT[TrialState(trial["state"])]
        values = [trial["metrics"][name] for name in objectives] if state == "complete" else None
        if (one.state, one.values) != (state, values):
            yield f"trial {trial['uid']} is {state} {values}; the sampler knows {one.state} {one.values}"


def _unlearnable(
    study: dict[str, Any], told: list[Observation], vocabulary: Vocabulary, seed: int
) -> Iterator[str]:
    """A real memory takes all of it in, in any order and twice."""
    shuffled = [*told, *told]
    random.Random(seed).shuffle(shuffled)
    memory = Memory(_definition(study), vocabulary)
    try:
        for one in shuffled:
            memory.observe(one)
    except (ContradictoryObservation, ValueError) as error:
        yield f"study {study['id']}: {error}"


def _other_points(
    study: dict[str, Any], trials: list[dict[str, Any]], vocabulary: Vocabulary
) -> Iterator[str]:
    """The weights that were trained are those that the sampler meant."""
    calibration = Calibration.model_validate_json(json.dumps(study["calibration"]))
    space = Space(_definition(study), vocabulary, calibration)
    for trial in trials:
        if trial["origin"] != "sampler":
            continue
        meant = space.point(trial["coordinates"]).weights
        if meant.keys() != trial["weights"].keys() or any(
            abs(meant[name] - weight) > _ROUNDING * max(1.0, abs(weight))
            for name, weight in trial["weights"].items()
        ):
            yield f"trial {trial['uid']} trained {trial['weights']}, the sampler meant {meant}"


def _definition(study: dict[str, Any]) -> StudyDefinition:
    return StudyDefinition.model_validate_json(json.dumps(study["definition"]))
