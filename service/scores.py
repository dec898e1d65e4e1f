"""What a study's trials have scored so far, as the tuner reads it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.contract.trial import Metrics, Transfer, TrialKind, TrialState
from service.models import Attempt, Report, Study, Trial
from service.tuner import transfer as transfer_of


@dataclass(frozen=True)
class Scores:
    """Metrics of the search's trials, at rungs and at the end."""

    rungs: dict[int, dict[int, Metrics]]  #: trial number → step → metrics
    finals: dict[int, Metrics]  #: trial number → metrics, complete trials only


def scores_of(session: Session, study: Study) -> Scores:
    """All scores of a study's search trials."""
    searched = (Trial.study_id == study.id, Trial.kind == TrialKind.SEARCH)
    rungs: dict[int, dict[int, Metrics]] = {}
    reports = session.execute(
        select(Report.step, Trial.number, Report.metrics)
        .join(Trial, Trial.uid == Report.trial_uid)
        .where(*searched)
    )
    for step, number, metrics in reports:
        rungs.setdefault(number, {})[step] = metrics
    finals = session.execute(
        select(Trial.number, Trial.metrics).where(*searched, Trial.state == TrialState.COMPLETE)
    )
    return Scores(rungs=rungs, finals=dict(finals.all()))


def device_seconds(session: Session, study: Study, *, at: float) -> float:
    """Seconds that workers held trials of this study, attempts under way included."""
    spent = session.execute(
        select(func.sum(func.coalesce(Attempt.ended, at) - Attempt.started))
        .join(Trial, Trial.uid == Attempt.trial_uid)
        .where(Trial.study_id == study.id)
    ).scalar_one()
    return float(spent or 0.0)


def transfer(session: Session, study: Study) -> list[Transfer]:
    """How well each rung's ranking has agreed with the end, so far."""
    definition, scores = study.parsed(), scores_of(session, study)
    return transfer_of(
        scores.rungs,
        scores.finals,
        definition.objectives,
        steps=definition.training.rung_steps(),
    )
