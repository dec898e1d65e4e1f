"""Studies and trials as the outside sees them: how far they are, and what is left to do."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.contract.errors import TrialNotFound
from service.contract.trial import (
    AttemptView,
    Progress,
    StudyState,
    StudyView,
    TrackingRun,
    TrialKind,
    TrialState,
    TrialView,
)
from service.contract.worker import WorkerState
from service.db import now
from service.models import Attempt, Report, Study, Trial, Worker
from service.queue import trials_of
from service.scores import device_seconds, transfer
from service.states import STUDY_ENDS, TRIAL_ENDS
from service.tracking.views import view_link


def study_view(session: Session, study: Study, *, tracking_url: str | None = None) -> StudyView:
    """A study in numbers, with its definition."""
    return StudyView(
        id=study.id,
        name=study.name,
        owner=study.owner,
        state=study.state,
        reason=study.reason,
        created=study.created,
        started=study.started,
        finished=study.finished,
        revision=study.revision,
        progress=progress(session, study),
        calibration=study.calibrated(),
        transfer=transfer(session, study),
        experiment_id=study.experiment_id,
        tracking_url=_experiment_url(study, tracking_url),
        definition=study.parsed(),
    )


def trial_views(session: Session, study: Study, trials: Sequence[Trial]) -> list[TrialView]:
    """Trials with their rungs and attempts, in the order given; two queries for all of them."""
    uids = [trial.uid for trial in trials]
    rungs: dict[str, dict[int, dict[str, float]]] = {}
    for row in session.scalars(
        select(Report).where(Report.trial_uid.in_(uids)).order_by(Report.step)
    ):
        rungs.setdefault(row.trial_uid, {})[row.step] = row.metrics
    attempts: dict[str, list[AttemptView]] = {}
    for attempt, worker in session.execute(
        select(Attempt, Worker.name)
        .join(Worker, Worker.id == Attempt.worker_id)
        .where(Attempt.trial_uid.in_(uids))
        .order_by(Attempt.token)
    ):
        attempts.setdefault(attempt.trial_uid, []).append(
            AttemptView(
                token=attempt.token,
                worker=worker,
                started=attempt.started,
                ended=attempt.ended,
                outcome=attempt.outcome,
                reason=attempt.reason,
            )
        )
    steps = study.parsed().training.steps
    return [
        _trial_view(study, trial, steps, rungs.get(trial.uid, {}), attempts.get(trial.uid, []))
        for trial in trials
    ]


def trial_numbered(session: Session, study: Study, number: int) -> TrialView:
    """One trial of a study; TrialNotFound says how many there are."""
    trial = session.scalars(
        select(Trial).where(Trial.study_id == study.id, Trial.number == number)
    ).first()
    if trial is None:
        raise TrialNotFound(
            f"study {study.name} has no trial {number}; its trials are 0 to {study.next_number - 1}"
        )
    return trial_views(session, study, [trial])[0]


def trial_page(
    session: Session, study: Study, *, state: TrialState | None, cursor: int, limit: int
) -> tuple[list[TrialView], str | None]:
    """A slice of a study's trials by number, and the cursor of the next."""
    wanted = select(Trial).where(Trial.study_id == study.id, Trial.number >= cursor)
    if state is not None:
        wanted = wanted.where(Trial.state == state)
    found = list(session.scalars(wanted.order_by(Trial.number).limit(limit + 1)))
    following = str(found[limit].number) if len(found) > limit else None
    return trial_views(session, study, found[:limit]), following


def progress(session: Session, study: Study) -> Progress:
    """How far a study is, and how long it will still take."""
    counts: dict[TrialState, int] = dict.fromkeys(TrialState, 0)
    done = 0
    for kind, state, count in session.execute(
        select(Trial.kind, Trial.state, func.count())
        .where(Trial.study_id == study.id)
        .group_by(Trial.kind, Trial.state)
    ):
        counts[state] += count
        if kind is TrialKind.SEARCH and state in TRIAL_ENDS:
            done += count
    at = now(session)
    return Progress(
        states=counts,
        budget_trials=study.parsed().budget.trials,
        done_trials=done,
        gpu_hours=device_seconds(session, study, at=at) / 3600,
        seconds_left=_seconds_left(session, study, at=at),
    )


def _trial_view(
    study: Study,
    trial: Trial,
    steps: int,
    rungs: dict[int, dict[str, float]],
    attempts: list[AttemptView],
) -> TrialView:
    run = None
    if study.experiment_id is not None and trial.run_id is not None:
        run = TrackingRun(experiment_id=study.experiment_id, run_id=trial.run_id)
    return TrialView(
        study_id=study.id,
        uid=trial.uid,
        number=trial.number,
        kind=trial.kind,
        origin=trial.origin,
        note=trial.note,
        state=trial.state,
        reason=trial.reason,
        seed=trial.seed,
        shares=trial.shares,
        weights=trial.weights,
        metrics=trial.metrics,
        rungs=rungs,
        step=trial.step,
        steps=steps,
        steps_per_second=trial.steps_per_second,
        attempts=attempts,
        weights_blob=trial.result_blob(),
        created=trial.created,
        finished=trial.finished,
        train_seconds=trial.train_seconds,
        tracking=run,
    )


def _seconds_left(session: Session, study: Study, *, at: float) -> float | None:
    """Work left by the mean of complete trials, shared by the slots that work on this study.

    None before a search trial is complete and while nobody works on the study: any number would
    be a guess.
    """
    if study.state in STUDY_ENDS:
        return 0.0
    trials = trials_of(session, study, TrialKind.SEARCH, TrialKind.CONFIRM)
    done = [t.train_seconds for t in trials if t.state is TrialState.COMPLETE]
    if not done:
        return None
    definition = study.parsed()
    slots = live_slots(session, study)
    if slots == 0:
        return None
    mean, steps = sum(done) / len(done), definition.training.steps
    running = [t for t in trials if t.state is TrialState.LEASED]
    waiting = sum(t.state is TrialState.QUEUED for t in trials)
    searched = sum(t.kind is TrialKind.SEARCH for t in trials)
    proposed_later = max(definition.budget.trials - searched, 0)
    if study.state is StudyState.CONFIRMING:
        proposed_later = 0
    under_way = sum(1.0 - min(t.step / steps, 1.0) for t in running)
    left = (under_way + waiting + proposed_later) * mean / slots
    if definition.budget.wall_hours is not None and study.started is not None:
        left = min(left, max(study.started + definition.budget.wall_hours * 3600 - at, 0.0))
    return left


def live_slots(session: Session, study: Study) -> int:
    """Slots of the workers that could train this study now."""
    labels = study.parsed().labels.items()
    return sum(
        worker.slots
        for worker in session.scalars(select(Worker).where(Worker.state == WorkerState.ACTIVE))
        if labels <= worker.labels.items()
    )


def _experiment_url(study: Study, tracking_url: str | None) -> str | None:
    if tracking_url is None or study.experiment_id is None:
        return None
    return f"{tracking_url.rstrip('/')}/{view_link(study.experiment_id)}"
