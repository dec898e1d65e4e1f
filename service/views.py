"""Studies and trials as the outside sees them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.contract.errors import TrialNotFound
from service.contract.trial import (
    AttemptView,
    StudyView,
    TrackingRun,
    TrialState,
    TrialView,
)
from service.models import Attempt, Report, Study, Trial, Worker
from service.progress import progress
from service.scores import transfer


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


def _experiment_url(study: Study, tracking_url: str | None) -> str | None:
    if tracking_url is None or study.experiment_id is None:
        return None
    # The package speaks HTTP, and a service without a lab book starts sooner without that.
    from service.tracking.views import view_link

    return f"{tracking_url.rstrip('/')}/{view_link(study.experiment_id)}"
