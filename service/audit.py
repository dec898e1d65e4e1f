"""The audit log: who changed what, written in the transaction of the change itself."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.contract.access import AuditEntry, Caller
from service.contract.errors import InvalidRequest
from service.db import now
from service.models import Audit

_LONGEST = 500


def note(
    session: Session,
    caller: Caller,
    action: str,
    subject: str,
    detail: str = "",
    *,
    request_id: str = "",
) -> None:
    """Write down a change; `detail` is for people and holds no secrets."""
    session.add(
        Audit(
            at=now(session),
            actor=caller.id,
            owner=caller.owner,
            action=action,
            subject=subject,
            detail=detail[:_LONGEST],
            request_id=request_id[:_LONGEST],
        )
    )


def entries(
    session: Session, *, subject: str | None, cursor: str | None, limit: int
) -> tuple[list[AuditEntry], str | None]:
    """A slice of the log, newest first, and the cursor of the next."""
    wanted = select(Audit).order_by(Audit.id.desc()).limit(limit + 1)
    if subject is not None:
        wanted = wanted.where(Audit.subject == subject)
    if cursor is not None:
        wanted = wanted.where(Audit.id < _number(cursor))
    found = [
        AuditEntry.model_validate(row, from_attributes=True) for row in session.scalars(wanted)
    ]
    return found[:limit], str(found[limit - 1].id) if len(found) > limit else None


def _number(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise InvalidRequest(f"cursor {cursor[:40]!r} leads nowhere; start without one")
    return int(cursor)
