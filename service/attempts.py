"""What follows an attempt that ended without a result: another one, or the trial's end.

The cause decides. Diverged training is a finding about the weights: the trial's result, no error.
Data and definition are wrong for every worker: fail at once. Out of memory: the same, with fewer
trials side by side. A worker that went silent: go on elsewhere from the last checkpoint; progress
is never counted against a trial, but one that takes worker after worker down is put aside.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.contract.trial import Failure, FailureCause, TrialKind, TrialState
from service.contract.vocabulary import Vocabulary
from service.contract.worker import WorkerState
from service.db import now
from service.holding import Held, hear, held_by, repeated
from service.models import Attempt, Trial
from service.phases import advance
from service.placement import make_room
from service.states import move_trial

#: Seconds before the second attempt; doubled with every further one.
BACK_OFF = 1.0
#: So many fruitless workers in a row, not all the same, make a trial poison.
POISON = 3
#: So many failures in a row, of trials others could have trained, make a worker suspect.
SUSPECT = 3
_LONGEST_BACK_OFF = 60.0
_FINAL = frozenset({FailureCause.DATA, FailureCause.DEFINITION})
_BY_WORKER = frozenset({FailureCause.STORAGE, FailureCause.ERROR})


def fail(
    session: Session,
    lease_id: str,
    failure: Failure,
    *,
    vocabulary: Vocabulary,
    max_attempts: int,
) -> None:
    """End an attempt without a result, as the cause demands."""
    held = held_by(session, lease_id, failure.token)
    if repeated(held, "failed", "diverged"):
        return
    reason = f"{failure.cause.value}: {failure.message}"
    held.attempt.cause = failure.cause.value
    hear(session, held)
    if failure.cause is FailureCause.DIVERGED and held.trial.kind is not TrialKind.START:
        held.worker.failures = 0
        _end(session, held, TrialState.DIVERGED, reason, vocabulary)
        return
    if failure.cause in _BY_WORKER:
        _suspect(session, held)
    if failure.cause is FailureCause.OUT_OF_MEMORY and held.attempt.together > 1:
        make_room(session, held.study, held.worker, together=held.attempt.together)
        held.trial.attempts -= 1
        held.trial.not_before = 0.0
        move_trial(session, held.trial, TrialState.QUEUED, reason, outcome="failed")
        return
    final = failure.cause in _FINAL or failure.cause is FailureCause.DIVERGED
    _retry(session, held, reason, "failed", vocabulary, allowed=0 if final else max_attempts)


def lapse(session: Session, uid: str, *, vocabulary: Vocabulary, max_attempts: int) -> bool:
    """Take a trial from a worker that was not heard of in time; False if it was, after all."""
    row = session.execute(
        select(Attempt.lease_id, Attempt.token)
        .join(Trial, Trial.lease_id == Attempt.lease_id)
        .where(Trial.uid == uid)
    ).one_or_none()
    if row is None:
        return False
    held = held_by(session, row.lease_id, row.token)
    trial = held.trial
    if held.over or trial.expires is None or trial.expires > now(session):
        return False
    reason = f"worker {held.worker.name} was not heard of in time"
    if (trial.resume_step or 0) > held.attempt.resumed_step:
        trial.attempts -= 1  # it was got on with: a machine that dies now and then is no reason
    elif _is_poison(session, held):
        reason = f"quarantined: {POISON} workers in a row were lost with it; the last: {reason}"
        _end(session, held, TrialState.FAILED, reason, vocabulary, outcome="lapsed")
        return True
    _retry(session, held, reason, "lapsed", vocabulary, allowed=max_attempts)
    return True


def _retry(
    session: Session,
    held: Held,
    reason: str,
    outcome: str,
    vocabulary: Vocabulary,
    *,
    allowed: int,
) -> None:
    """Queue the trial for another attempt, or fail it when the allowed ones are used up."""
    trial = held.trial
    if trial.attempts < allowed:
        pause = min(BACK_OFF * 2.0 ** max(trial.attempts - 1, 0), _LONGEST_BACK_OFF)
        trial.not_before = now(session) + (0.0 if outcome == "lapsed" else pause)
        move_trial(session, trial, TrialState.QUEUED, reason, outcome=outcome)
        return
    if allowed:
        reason = f"{reason} ({trial.attempts} attempts, the last one counted)"
    _end(session, held, TrialState.FAILED, reason, vocabulary, outcome=outcome)


def _end(
    session: Session,
    held: Held,
    state: TrialState,
    reason: str,
    vocabulary: Vocabulary,
    *,
    outcome: str | None = None,
) -> None:
    move_trial(session, held.trial, state, reason, outcome=outcome)
    session.flush()
    advance(session, held.study, vocabulary)


def _is_poison(session: Session, held: Held) -> bool:
    """Whether the last workers were all lost with this trial before they got on with it."""
    earlier: Sequence[Attempt] = session.scalars(
        select(Attempt)
        .where(Attempt.trial_uid == held.trial.uid, Attempt.token < held.attempt.token)
        .order_by(Attempt.token.desc())
        .limit(POISON - 1)
    ).all()
    same = [
        one
        for one in earlier
        if one.outcome == "lapsed" and one.resumed_step == held.attempt.resumed_step
    ]
    workers = {held.attempt.worker_id, *(one.worker_id for one in same)}
    # One worker alone may itself be what is broken; then the limit of attempts decides.
    return len(same) == POISON - 1 and len(workers) > 1


def _suspect(session: Session, held: Held) -> None:
    """Count a failure against the worker, if others could train this study."""
    others = session.scalar(
        select(Attempt.lease_id)
        .join(Trial, Trial.uid == Attempt.trial_uid)
        .where(
            Trial.study_id == held.study.id,
            Trial.kind != TrialKind.START,
            Trial.state == TrialState.COMPLETE,
            Attempt.worker_id != held.worker.id,
            Attempt.outcome == "complete",
        )
        .limit(1)
    )
    if others is None:
        return
    held.worker.failures += 1
    if held.worker.failures >= SUSPECT and held.worker.state is WorkerState.ACTIVE:
        held.worker.state = WorkerState.QUARANTINED
        held.worker.reason = (
            f"{held.worker.failures} failures in a row on trials others can train; "
            f"the last: {held.attempt.cause} in {held.trial.uid}; mend it and start it again"
        )
