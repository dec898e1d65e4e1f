"""When a worker without work asks again: the service directs, so that it is never flooded."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.contract.worker import WorkerState
from service.fair import Turn
from service.models import Worker, definition_of

#: Polls per second that an idle fleet may cost, and the pauses that follow from it.
_POLLS_PER_SECOND = 20.0
_SHORTEST, _LONGEST = 1.0, 30.0
#: The same while somebody holds a study's row for a moment, or proposals are on their way.
_EAGER, _SOON = 100.0, 0.1


def poll_after(session: Session, turns: Sequence[Turn]) -> float:
    """Seconds until an idle worker asks again: longer the more there are, never all at once."""
    fleet = session.execute(
        select(func.count()).where(Worker.state == WorkerState.ACTIVE)
    ).scalar_one()
    hopeful = any(
        turn.waiting > 0 or 0 < turn.searched < definition_of(session, turn.study_id).budget.trials
        for turn in turns
    )
    rate, shortest = (_EAGER, _SOON) if hopeful else (_POLLS_PER_SECOND, _SHORTEST)
    return min(max(fleet / rate, shortest), _LONGEST) * random.uniform(0.75, 1.25)


def idle_after() -> float:
    """Seconds until a worker asks again that gets nothing for now, whatever there is."""
    return _LONGEST * random.uniform(0.5, 1.0)
