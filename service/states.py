"""The one table of legal moves, and the only functions that make them.

Every change that pages or projections should hear of passes through here: it counts up the study's
`revision` and stamps the trial with it. Ends and first leases also count up the study's `clock`,
and the counts that decisions read instead of all trials are kept here.
The caller holds the study's row locked (`locked`), so that counts never collide.
"""

from __future__ import annotations

from functools import partial

from sqlalchemy import case, select, update
from sqlalchemy.orm import Session

from service import audit
from service.contract.access import SERVICE
from service.contract.errors import IllegalMove, StudyNotFound
from service.contract.trial import StudyState, TrialState
from service.contract.worker import WorkerState
from service.db import at_end, now
from service.models import Attempt, Study, Trial, Worker

STUDY_MOVES: dict[StudyState, frozenset[StudyState]] = {
    StudyState.DRAFT: frozenset({StudyState.ACTIVE, StudyState.STOPPED}),
    StudyState.ACTIVE: frozenset(
        {
            StudyState.PAUSED,
            StudyState.CONFIRMING,
            StudyState.FINISHED,
            StudyState.STOPPED,
            StudyState.FAILED,
        }
    ),
    StudyState.PAUSED: frozenset(
        {StudyState.ACTIVE, StudyState.CONFIRMING, StudyState.STOPPED, StudyState.FAILED}
    ),
    StudyState.CONFIRMING: frozenset(
        {StudyState.PAUSED, StudyState.FINISHED, StudyState.STOPPED, StudyState.FAILED}
    ),
    StudyState.FINISHED: frozenset(),
    StudyState.STOPPED: frozenset(),
    StudyState.FAILED: frozenset(),
}

TRIAL_MOVES: dict[TrialState, frozenset[TrialState]] = {
    TrialState.QUEUED: frozenset({TrialState.LEASED, TrialState.CANCELLED}),
    TrialState.LEASED: frozenset(
        {
            TrialState.QUEUED,
            TrialState.COMPLETE,
            TrialState.PRUNED,
            TrialState.DIVERGED,
            TrialState.FAILED,
            TrialState.CANCELLED,
        }
    ),
    TrialState.COMPLETE: frozenset(),
    TrialState.PRUNED: frozenset(),
    TrialState.DIVERGED: frozenset(),
    TrialState.FAILED: frozenset(),
    TrialState.CANCELLED: frozenset(),
}

STUDY_ENDS = frozenset(state for state, moves in STUDY_MOVES.items() if not moves)
TRIAL_ENDS = frozenset(state for state, moves in TRIAL_MOVES.items() if not moves)
TRIAL_OPEN = frozenset(TRIAL_MOVES) - TRIAL_ENDS


#: `last_seen` may be this old although the worker just spoke.
_HEARD_SECONDS = 1.0


def locked(session: Session, study_id: str) -> Study:
    """The study's row as it is now, kept for this transaction.

    Whoever changes a study or one of its trials takes this first: one order of locks, no deadlocks.
    """
    study = session.get(Study, study_id, with_for_update=True, populate_existing=True)
    if study is None:
        raise StudyNotFound(f"the study {study_id} is gone; somebody deleted it")
    return study


def move_study(session: Session, study: Study, to: StudyState, reason: str = "") -> None:
    """Bring a study into another state; IllegalMove if its state does not allow that."""
    if to not in STUDY_MOVES[study.state]:
        raise IllegalMove(
            f"study {study.name} is {study.state} and cannot become {to}; "
            f"it can become {_listed(STUDY_MOVES[study.state])}"
        )
    study.state = to
    study.reason = reason
    if to in STUDY_ENDS:
        study.finished = now(session)
        if to is not StudyState.STOPPED:  # which people do, and their routes note it
            audit.note(session, SERVICE, f"study.{to}", study.id, f"{study.name}: {reason}")
    touch(study)


def move_trial(
    session: Session, trial: Trial, to: TrialState, reason: str = "", *, outcome: str | None = None
) -> None:
    """Bring a trial into another state; IllegalMove if its state does not allow that.

    A leased trial's attempt ends with the move; `outcome` is its word, default the new state.
    """
    if to not in TRIAL_MOVES[trial.state]:
        raise IllegalMove(
            f"trial {trial.uid} is {trial.state} and cannot become {to}; "
            f"it can become {_listed(TRIAL_MOVES[trial.state])}"
        )
    study = session.get_one(Study, trial.study_id)
    if trial.state is TrialState.LEASED:
        _end_attempt(session, study, trial, outcome or to.value, reason)
    _count(study, trial, to)
    trial.state = to
    trial.reason = reason
    if to is TrialState.LEASED and trial.leased_clock is None:
        trial.leased_clock = _tick(study)
    if to is not TrialState.LEASED:
        trial.expires = None
    if to is TrialState.QUEUED:
        trial.lease_id = None
    if to in TRIAL_ENDS:
        trial.finished = now(session)
        trial.finished_clock = _tick(study)
    touch(study, trial)


def _end_attempt(session: Session, study: Study, trial: Trial, outcome: str, reason: str) -> None:
    attempt = session.get_one(Attempt, (trial.uid, trial.token))
    attempt.ended, attempt.outcome, attempt.reason = now(session), outcome, reason
    study.device_seconds += max(attempt.ended - attempt.started, 0.0)
    study.attempts_ended += 1


def _count(study: Study, trial: Trial, to: TrialState) -> None:
    """Keep the study's counts of its trials, `trial` about to move."""
    study.running += (to is TrialState.LEASED) - (trial.state is TrialState.LEASED)
    study.unfinished -= to in TRIAL_ENDS
    again = trial.token > 0
    study.interrupted += (again and to is TrialState.QUEUED) - (
        again and trial.state is TrialState.QUEUED
    )


def touch(study: Study, *trials: Trial) -> None:
    """Make a change that is no move known to those who watch revisions."""
    study.revision += 1
    for trial in trials:
        trial.revision = study.revision


def heard_from(session: Session, worker: Worker) -> None:
    """A worker spoke: it is not gone (any more)."""
    at = now(session)
    # Every message counts, but a row is not written for each: gone is who is silent for long.
    quiet = at - worker.last_seen > _HEARD_SECONDS or worker.last_seen > at
    if quiet or worker.state is WorkerState.GONE:
        heard: set[str] = session.info.setdefault("srtune.heard", set())
        heard.add(worker.id)
        at_end(session, "heard", partial(_write_heard, session, heard))


def _write_heard(session: Session, heard: set[str]) -> None:
    # In one order; and who is being written by another was heard there.
    present = (
        select(Worker.id)
        .where(Worker.id.in_(heard))
        .order_by(Worker.id)
        .with_for_update(skip_locked=True)
    )
    session.execute(
        update(Worker)
        .where(Worker.id.in_(session.scalars(present).all()))
        .values(
            last_seen=now(session),
            state=case((Worker.state == WorkerState.GONE, WorkerState.ACTIVE), else_=Worker.state),
        )
        .execution_options(synchronize_session=False)
    )


def _tick(study: Study) -> int:
    study.clock += 1
    return study.clock


def _listed(states: frozenset[StudyState] | frozenset[TrialState]) -> str:
    return ", ".join(sorted(states)) or "nothing else, this is its end"
