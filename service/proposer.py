"""Proposals ahead of demand: new trials are in the queue before a worker asks for them.

Proposal n is made once trial n - ahead was leased, and sees exactly the results that were in by
then. So what is proposed depends on the order of leases and ends, never on when this thread runs;
with one worker it depends on the study's seed alone, across restarts too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.contract.study import StudyDefinition
from service.contract.trial import StudyState, TrialKind, TrialState
from service.contract.vocabulary import Vocabulary
from service.db import Database, lock
from service.models import Study, Trial
from service.phases import overspent
from service.queue import enqueue
from service.states import locked
from service.tuner import Coordinates, Observation, Space
from service.tuner.memory import Memory


@dataclass(frozen=True)
class _Known:
    """What a proposal may have to know of a trial."""

    number: int
    kind: TrialKind
    coordinates: Coordinates | None
    leased_clock: int | None
    finished_clock: int | None
    state: TrialState
    values: list[float] | None
    shares: dict[str, float]

    def seen_at(self, clock: int) -> Observation:
        """The trial as it looked then; later ends do not count yet."""
        over = self.finished_clock is not None and self.finished_clock <= clock
        if over and self.state is TrialState.COMPLETE:
            return Observation(
                self.number, self.coordinates, "complete", self.values, shares=self.shares
            )
        if over:
            pruned = self.state is TrialState.PRUNED
            return Observation(self.number, self.coordinates, "pruned" if pruned else "failed")
        return Observation(self.number, self.coordinates, "running")


@dataclass
class _Remembered:
    """A study's memory, and how far the rows have been read into it."""

    memory: Memory
    known: dict[int, _Known] = field(default_factory=dict)
    revision: int = -1


class Memories:
    """The samplers' memories of this process, rebuilt from the rows whenever one is missing."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._studies: dict[str, _Remembered] = {}

    def forget_all_but(self, study_ids: set[str]) -> None:
        for study_id in self._studies.keys() - study_ids:
            del self._studies[study_id]

    def catch_up(self, session: Session, study: Study) -> dict[int, _Known]:
        """Read the rows that changed since the last time; all trials by number."""
        definition = study.parsed()
        remembered = self._studies.setdefault(
            study.id, _Remembered(Memory(definition, self._vocabulary))
        )
        for trial in session.scalars(
            select(Trial).where(Trial.study_id == study.id, Trial.revision > remembered.revision)
        ):
            remembered.known[trial.number] = _known(trial, definition)
            remembered.revision = max(remembered.revision, trial.revision)
        return remembered.known

    def propose(self, study: Study, number: int, *, clock: int) -> Coordinates:
        """Coordinates for trial `number`, from what was known at this time of the study's clock."""
        remembered = self._studies[study.id]
        for known in sorted(remembered.known.values(), key=lambda one: one.number):
            if known.kind is TrialKind.SEARCH and known.number < number:
                remembered.memory.observe(known.seen_at(clock))
        return remembered.memory.propose(number)


def propose(database: Database, vocabulary: Vocabulary, memories: Memories) -> None:
    """Fill the queue of every study that searches."""
    with database.reading() as session:
        active = set(
            session.scalars(
                select(Study.id).where(Study.state == StudyState.ACTIVE, Study.seeded.is_(True))
            )
        )
    memories.forget_all_but(active)
    for study_id in sorted(active):
        while _propose_one(database, study_id, vocabulary, memories):
            pass


def _propose_one(
    database: Database, study_id: str, vocabulary: Vocabulary, memories: Memories
) -> bool:
    """Make the study's next proposal; False when it needs none now."""
    # The sampler thinks outside of any writing transaction; a number taken by somebody else in
    # the meantime makes its thought void.
    with database.reading() as session:
        lock(session, f"propose:{study_id}")
        study = session.get(Study, study_id)
        if study is None or not _wants(session, study):
            return False
        known, number = memories.catch_up(session, study), study.next_number
        clock = _clock(known, number - study.parsed().search.ahead)
        if clock is None:
            return False
        coordinates = memories.propose(study, number, clock=clock)
        _insert(database, study_id, number, coordinates, vocabulary)
    return True


def _wants(session: Session, study: Study) -> bool:
    definition = study.parsed()
    return (
        study.state is StudyState.ACTIVE
        and study.searched < definition.budget.trials
        and overspent(session, study, definition) is None
    )


def _clock(known: dict[int, _Known], number: int) -> int | None:
    """When trial `number` was leased, 0 before the first trial; None while it still waits."""
    if number < 0:
        return 0
    trial = known.get(number)
    if trial is None:
        return None
    return trial.leased_clock


def _insert(
    database: Database,
    study_id: str,
    number: int,
    coordinates: Coordinates,
    vocabulary: Vocabulary,
) -> None:
    with database.writing() as session:
        study = locked(session, study_id)
        if study.next_number != number or not _wants(session, study):
            return
        definition = study.parsed()
        space = Space(definition, vocabulary, study.calibrated())
        enqueue(
            session,
            study,
            kind=TrialKind.SEARCH,
            origin="sampler",
            seed=definition.training.seed,
            point=space.point(coordinates),
            coordinates=dict(coordinates),
        )


def _known(trial: Trial, definition: StudyDefinition) -> _Known:
    complete = trial.state is TrialState.COMPLETE and trial.kind is TrialKind.SEARCH
    return _Known(
        number=trial.number,
        kind=trial.kind,
        coordinates=trial.coordinates,
        leased_clock=trial.leased_clock,
        finished_clock=trial.finished_clock,
        state=trial.state,
        values=[trial.metrics[name] for name in definition.objectives] if complete else None,
        shares=trial.shares,
    )
