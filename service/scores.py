"""What a study's trials have scored so far: may this one go on, and what has it cost."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.contract.trial import Metrics, Transfer, TrialState
from service.contract.vocabulary import Vocabulary
from service.models import Attempt, Study, Trial
from service.scoreboard import board_of
from service.tuner import Decision, never


def decision(
    session: Session,
    study: Study,
    vocabulary: Vocabulary,
    *,
    number: int,
    step: int,
    metrics: Metrics,
) -> Decision:
    """Whether trial `number` stops at the rung `step`, where it has just scored `metrics`.

    As `tuner.decide`, among the newest thousand trials; where many are compared, the last few may
    be missing. Reads nothing when no score can change the answer.
    """
    definition = study.parsed()
    early = never(definition, step)
    if early is not None:
        return early
    ended = study.searched - study.unfinished
    if ended < definition.pruning.trials:
        return Decision(False, f"only {ended} trials have ended, too few to measure transfer")
    board = board_of(session, study, step=step)
    names = definition.objectives
    directions = [vocabulary.metrics[name].direction for name in names]
    scores = [metrics[name] for name in names] if metrics.keys() >= set(names) else None
    return board.rung(study, step).decide(number, scores, directions)


def device_seconds(session: Session, study: Study, *, at: float) -> float:
    """Seconds that workers held trials of this study, attempts under way included."""
    if not study.running:
        return study.device_seconds
    under_way = session.execute(
        select(func.sum(at - Attempt.started))
        .join(Trial, (Trial.uid == Attempt.trial_uid) & (Trial.token == Attempt.token))
        .where(
            Trial.study_id == study.id,
            Trial.state == TrialState.LEASED,
            Attempt.ended.is_(None),
        )
    ).scalar_one()
    return study.device_seconds + max(float(under_way or 0.0), 0.0)


def transfer(session: Session, study: Study) -> list[Transfer]:
    """How well each rung's ranking has agreed with the end, over the newest thousand trials."""
    board = board_of(session, study)
    return [board.rung(study, step).measured for step in study.parsed().training.rung_steps()]
