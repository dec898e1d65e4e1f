"""How far a study is, and how long it will still take."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.contract.trial import Progress, StudyState, TrialKind, TrialState
from service.contract.worker import WorkerState
from service.db import READING, now
from service.models import Study, Trial, Worker
from service.placement import suits
from service.scores import device_seconds
from service.states import STUDY_ENDS, TRIAL_ENDS

_TALLIES = 256


@dataclass(frozen=True)
class _Tally:
    """A study's trials counted, at one revision."""

    counts: dict[tuple[TrialKind, TrialState], int]
    train_seconds: float  #: of complete trials of the search and the confirmation
    complete: int

    def of(self, state: TrialState) -> int:
        """Trials in this state that train at full length."""
        return sum(self.counts.get((kind, state), 0) for kind in _FULL_LENGTH)


_FULL_LENGTH = (TrialKind.SEARCH, TrialKind.CONFIRM)
_tallies: OrderedDict[str, tuple[int, _Tally]] = OrderedDict()
_shelf = threading.Lock()


def progress(session: Session, study: Study) -> Progress:
    """A study in numbers: what is done, what it has cost, what is left."""
    tally, at = _tally(session, study), now(session)
    states: dict[TrialState, int] = dict.fromkeys(TrialState, 0)
    for (_, state), count in tally.counts.items():
        states[state] += count
    ends = ((TrialKind.SEARCH, state) for state in TRIAL_ENDS)
    return Progress(
        states=states,
        budget_trials=study.parsed().budget.trials,
        done_trials=sum(tally.counts.get(end, 0) for end in ends),
        gpu_hours=device_seconds(session, study, at=at) / 3600,
        seconds_left=_seconds_left(session, study, tally, at=at),
    )


def live_slots(session: Session, study: Study) -> int:
    """Slots of the workers that could train this study now."""
    definition = study.parsed()
    there = session.scalars(select(Worker).where(Worker.state == WorkerState.ACTIVE))
    return sum(worker.slots for worker in there if suits(worker, definition))


def _tally(session: Session, study: Study) -> _Tally:
    """Counted by the database, once per revision whoever asks."""
    reading = session.info.get(READING, False)
    with _shelf:
        revision, known = _tallies.get(study.id, (-1, None))
    if known is not None and reading and revision == study.revision:
        return known
    found = session.execute(
        select(Trial.kind, Trial.state, func.count(), func.sum(Trial.train_seconds))
        .where(Trial.study_id == study.id)
        .group_by(Trial.kind, Trial.state)
    ).all()
    done = [row for row in found if row[1] is TrialState.COMPLETE and row[0] in _FULL_LENGTH]
    tally = _Tally(
        counts={(kind, state): count for kind, state, count, _ in found},
        train_seconds=sum(float(seconds or 0.0) for *_, seconds in done),
        complete=sum(count for _, _, count, _ in done),
    )
    if reading:
        with _shelf:
            _tallies[study.id] = study.revision, tally
            _tallies.move_to_end(study.id)
            if len(_tallies) > _TALLIES:
                _tallies.popitem(last=False)
    return tally


def _seconds_left(session: Session, study: Study, tally: _Tally, *, at: float) -> float | None:
    """Work left by the mean of complete trials, shared by the slots that work on this study.

    None before a search trial is complete and while nobody works on the study: any number would
    be a guess.
    """
    if study.state in STUDY_ENDS:
        return 0.0
    if not tally.complete:
        return None
    slots = live_slots(session, study)
    if slots == 0:
        return None
    definition = study.parsed()
    proposed_later = max(definition.budget.trials - study.searched, 0)
    if study.state is StudyState.CONFIRMING:
        proposed_later = 0
    waiting = tally.of(TrialState.QUEUED)
    trials = _under_way(session, study) + waiting + proposed_later
    left = trials * tally.train_seconds / tally.complete / slots
    if definition.budget.wall_hours is not None and study.started is not None:
        left = min(left, max(study.started + definition.budget.wall_hours * 3600 - at, 0.0))
    return left


def _under_way(session: Session, study: Study) -> float:
    """What is left of the trials that train, in trials."""
    if not study.running:
        return 0.0
    steps = study.parsed().training.steps
    taken = session.scalars(
        select(Trial.step).where(
            Trial.study_id == study.id,
            Trial.state == TrialState.LEASED,
            Trial.kind.in_(_FULL_LENGTH),
        )
    )
    return sum(1.0 - min(step / steps, 1.0) for step in taken)
