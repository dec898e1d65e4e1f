"""Requests that may be repeated: the repeat of an Idempotency-Key gets the first answer.

A key is its caller's own, for one method and path. Requests with the same key wait for each other,
so that of two that come together one acts and the other hears what it was answered.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from service.contract.access import Caller
from service.contract.errors import KeyReused
from service.db import lock, now
from service.models import Idempotency


@dataclass(frozen=True)
class Key:
    """An Idempotency-Key, who sent it where, and the body it came with."""

    value: str
    caller: Caller
    method: str
    path: str
    body: bytes = b""

    @property
    def row(self) -> str:
        """What the row is found by: of one length, whatever people choose as keys."""
        parts = (self.caller.id, self.method, self.path, self.value)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True)
class Remembered:
    """A first answer; its body is none where the answer had none."""

    body: Any


def remembered(session: Session, key: Key | None) -> Remembered | None:
    """The first answer to this key, if it came before; KeyReused if it came with another body."""
    if key is None:
        return None
    lock(session, f"key:{key.row}")
    row = session.get(Idempotency, key.row)
    if row is None:
        return None
    if row.body_sha256 != key.digest:
        raise KeyReused(
            f"the Idempotency-Key {key.value} came before with another body; use a new key"
        )
    return Remembered(row.answer)


def remember(session: Session, key: Key | None, answer: dict[str, Any] | None) -> None:
    """Keep an answer, so that a repeat of the request gets it instead of a second effect."""
    if key is not None:
        session.add(
            Idempotency(key=key.row, body_sha256=key.digest, answer=answer, created=now(session))
        )
