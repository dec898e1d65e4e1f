"""Proposals ahead of demand: new trials are in the queue before a worker asks for them.

Normally proposal n is made once trial n - ahead was leased, and sees exactly the results that were
in by then. So what is proposed depends on the order of leases and ends, never on when this thread
runs; with one worker it depends on the study's seed alone, across restarts too. Where more than
`ahead` slots take more than `ahead` trials a second the queue is kept as deep as a second lasts,
and where it ran empty there is one for every idle slot: batches of one fit each, from all results
that are in. What waits at the front of the queue and is older than four times the depth, counted in
leases and ends, is thought up again under its number.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from service.contract.errors import InvalidRequest, StudyNotFound
from service.contract.trial import StudyState, TrialState
from service.contract.vocabulary import Vocabulary
from service.db import Database, try_lock
from service.demand import DEEPEST, Slots
from service.memories import Memories
from service.models import Study, Trial
from service.phases import overspent
from service.progress import live_slots
from service.queue import enqueue_all
from service.sampler import MindLost
from service.states import locked, touch

if TYPE_CHECKING:
    from service.tuner.mind import Proposal

__all__ = ["Memories", "propose"]
logger = logging.getLogger(__name__)

#: A waiting proposal is stale after so many leases and ends per trial of the queue's depth. Twice
#: the depth passes while it waits its turn, and up to `ahead` trials that train end meanwhile.
_STALE = 4
#: A deep queue is filled up when it is down to this fraction: batches, not one by one.
_LOW = 0.75


@dataclass(frozen=True)
class _Plan:
    """What to think up: numbers of waiting trials to replace, and of new ones, from `first` on."""

    stale: list[int]
    first: int
    new: int
    clock: int

    @property
    def numbers(self) -> list[int]:
        return [*self.stale, *range(self.first, self.first + self.new)]


def propose(database: Database, _vocabulary: Vocabulary, memories: Memories) -> None:
    """Fill the queue of every study that searches."""
    with database.reading() as session:
        active = session.execute(
            select(Study.id, Study.revision, Study.seeded)
            .where(Study.state == StudyState.ACTIVE)
            .order_by(Study.id)
        ).all()
    try:
        if active:
            memories.begin()  # while the first start job trains
        memories.keep({study_id for study_id, _, _ in active})
        for study_id, revision, seeded in active:
            if seeded and not memories.is_settled(study_id, revision):
                _fill(database, study_id, memories)
    except MindLost:
        memories.forget_all()  # it is told everything again the next time


def _fill(database: Database, study_id: str, memories: Memories) -> None:
    try:
        while _propose_some(database, study_id, memories):
            pass
    except StudyNotFound:
        memories.forget(study_id)  # deleted meanwhile
    except (ValueError, InvalidRequest):
        # A defect in one study's memory must not starve the others; it is built anew.
        logger.exception("no proposals", extra={"study": study_id})
        memories.forget(study_id)


def _propose_some(database: Database, study_id: str, memories: Memories) -> bool:
    """Make the study's next proposals; False when it needs none now."""
    # The sampler thinks outside of any writing transaction; a number taken by somebody else in
    # the meantime makes its thought void.
    with database.reading() as session:
        if not try_lock(session, f"propose:{study_id}"):
            return False  # another replica is at it
        study = session.get(Study, study_id)
        plan = None if study is None else _planned(session, study, memories)
        if study is None or plan is None:
            return False
        memories.catch_up(session, study)
        proposals = memories.propose(study_id, plan.numbers, plan.clock)
        _record(database, study_id, plan, proposals)
    return True


def _planned(session: Session, study: Study, memories: Memories) -> _Plan | None:
    """What to propose; None when nothing is needed as the study is now."""
    if study.state is not StudyState.ACTIVE:
        return None
    room, ahead = _room(session, study), study.parsed().search.ahead
    line = _line(session, study)
    demand = memories.demand(study.id)
    demand.note(study.next_number - len(line))
    depth = demand.depth(ahead, waiting=len(line), slots=partial(_slots, session, study))
    stale = [
        row.number
        for row in line[:depth]
        if row.proposed_clock is not None and study.clock - row.proposed_clock > _STALE * depth
    ]
    if depth > ahead:
        missing = depth - len(line) if len(line) <= _LOW * depth else 0
        plan = _Plan(stale, study.next_number, min(missing, room), study.clock)
    elif stale or not room:
        plan = _Plan(stale, study.next_number, 0, study.clock)
    else:
        clock = _clock(session, study, study.next_number - ahead)
        plan = _Plan([], study.next_number, 0 if clock is None else 1, clock or 0)
    if not plan.numbers:
        memories.settle(study)
        return None
    return plan


def _slots(session: Session, study: Study) -> Slots:
    live = live_slots(session, study)
    taken = session.scalar(select(func.sum(Study.running))) or 0
    return Slots(live, max(live - taken, 0))


def _room(session: Session, study: Study) -> int:
    """How many more trials may be proposed."""
    definition = study.parsed()
    if study.state is not StudyState.ACTIVE or overspent(session, study, definition) is not None:
        return 0
    return max(definition.budget.trials - study.searched, 0)


def _line(session: Session, study: Study) -> Sequence[Row[int, int | None]]:
    """Trials nobody has worked on yet, in order; a deeper queue needs nothing of us."""
    return session.execute(
        select(Trial.number, Trial.proposed_clock)
        .where(Trial.study_id == study.id, Trial.state == TrialState.QUEUED, Trial.token == 0)
        .order_by(Trial.number)
        .limit(DEEPEST)
    ).all()


def _clock(session: Session, study: Study, number: int) -> int | None:
    """When trial `number` was leased, 0 before the first trial; None while it still waits."""
    if number < 0:
        return 0
    row = session.execute(
        select(Trial.leased_clock, Trial.finished_clock).where(
            Trial.study_id == study.id, Trial.number == number
        )
    ).one_or_none()
    if row is None:
        return None
    leased, finished = row
    # One that was cancelled before anybody worked on it has only an end.
    return finished if leased is None else leased


def _record(database: Database, study_id: str, plan: _Plan, proposals: Sequence[Proposal]) -> None:
    """Put the proposals into the queue, as far as they still fit the study."""
    by_number = {proposal.number: proposal for proposal in proposals}
    with database.writing() as session:
        study = locked(session, study_id)
        room = _room(session, study)
        if plan.stale and study.state is StudyState.ACTIVE:
            _replace(session, study, plan, by_number)
        if study.next_number == plan.first:
            numbers = range(plan.first, plan.first + min(plan.new, room))
            enqueue_all(
                session,
                study,
                [(by_number[n].point, by_number[n].coordinates) for n in numbers],
                origin="sampler",
                seed=study.parsed().training.seed,
                proposed_clock=plan.clock,
            )


def _replace(session: Session, study: Study, plan: _Plan, proposals: dict[int, Proposal]) -> None:
    """New points under old numbers, where nobody has taken them meanwhile."""
    waiting = session.scalars(
        select(Trial)
        .where(
            Trial.study_id == study.id,
            Trial.number.in_(plan.stale),
            Trial.state == TrialState.QUEUED,
            Trial.token == 0,
        )
        .with_for_update()
    )
    for trial in waiting:
        proposal = proposals[trial.number]
        trial.coordinates = dict(proposal.coordinates)
        trial.shares, trial.weights = proposal.point.shares, proposal.point.weights
        trial.proposed_clock = plan.clock
        touch(study, trial)
