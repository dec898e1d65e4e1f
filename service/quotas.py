"""What an owner's studies may use together: trials at once, and device hours in all."""

from __future__ import annotations

from sqlalchemy import func, select
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


def used_hours(session: Session, owner: Owner) -> float:
    """Device hours of all the owner's studies, attempts under way and deleted studies included."""
    ended = session.execute(
        select(func.coalesce(func.sum(Study.device_seconds), 0.0)).where(Study.owner == owner.name)
    ).scalar_one()
    under_way = session.execute(
        select(func.coalesce(func.sum(now(session) - Attempt.started), 0.0))
        .join(Trial, Trial.uid == Attempt.trial_uid)
        .join(Study, Study.id == Trial.study_id)
        .where(Study.owner == owner.name, Study.running > 0, Attempt.ended.is_(None))
    ).scalar_one()
    return (owner.deleted_seconds + float(ended) + float(under_way)) / 3600
