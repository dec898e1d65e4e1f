"""What an owner's studies may use together: trials at once, and device hours in all."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from service.db import now
from service.models import Attempt, Owner, Study, Trial


def room_of(session: Session, name: str, *, wanted: int) -> int:
    """How many of the wanted trials an owner may start now.

    The owner's row stays locked until the transaction ends, so that two of its studies cannot both
    take the last place; whoever asks holds the study's lock already, never the other way round.
    """
    owner = session.scalars(
        select(Owner)
        .where(Owner.name == name)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).first()
    if owner is None:
        return wanted
    if owner.gpu_hours is not None and used_hours(session, owner) >= owner.gpu_hours:
        return 0
    if owner.max_running is None:
        return wanted
    running = session.execute(
        select(func.coalesce(func.sum(Study.running), 0)).where(Study.owner == name)
    ).scalar_one()
    return min(max(owner.max_running - int(running), 0), wanted)


def charge_deleted(session: Session, study: Study) -> None:
    """Keep what a study used, which is about to be deleted, on its owner's account."""
    owner = session.get(Owner, study.owner, with_for_update=True, populate_existing=True)
    if owner is not None:
        owner.deleted_seconds += study.device_seconds + _under_way(session, Study.id == study.id)


def used_hours(session: Session, owner: Owner) -> float:
    """Device hours of all the owner's studies, attempts under way and deleted studies included."""
    ended = session.execute(
        select(func.coalesce(func.sum(Study.device_seconds), 0.0)).where(Study.owner == owner.name)
    ).scalar_one()
    under_way = _under_way(session, Study.owner == owner.name)
    return (owner.deleted_seconds + float(ended) + under_way) / 3600


def _under_way(session: Session, whose: ColumnElement[bool]) -> float:
    """Device seconds of attempts that have not ended."""
    seconds = session.execute(
        select(func.coalesce(func.sum(now(session) - Attempt.started), 0.0))
        .join(Trial, Trial.uid == Attempt.trial_uid)
        .join(Study, Study.id == Trial.study_id)
        .where(whose, Study.running > 0, Attempt.ended.is_(None))
    ).scalar_one()
    return float(seconds)
