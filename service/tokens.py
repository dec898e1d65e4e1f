"""Who may do what: bearer tokens, of which only digests are stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.contract.errors import Forbidden, InvalidRequest, Unauthorized
from service.db import Database, now
from service.models import Token
from service.settings import Settings


class Scope(StrEnum):
    """What a token allows; `admin` allows everything."""

    READ = "read"  #: look at studies, trials, workers and pages
    SUBMIT = "submit"  #: create studies and change their state
    WORKER = "worker"  #: lease trials and report about them
    ADMIN = "admin"  #: everything


#: Whoever may submit or train may also look.
_IMPLIED = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.SUBMIT: frozenset({Scope.SUBMIT, Scope.READ}),
    Scope.WORKER: frozenset({Scope.WORKER, Scope.READ}),
    Scope.ADMIN: frozenset(Scope),
}


def create_token(
    session: Session, name: str, scopes: list[Scope], *, valid_for: float | None = None
) -> str:
    """A new secret, returned this once; `valid_for` in seconds, default for ever."""
    if not scopes:
        raise InvalidRequest(f"token {name} has no scopes; give some of {', '.join(Scope)}")
    secret = f"srt_{secrets.token_urlsafe(32)}"
    created = now(session)
    session.add(
        Token(
            sha256=_digest(secret),
            name=name,
            scopes=[scope.value for scope in scopes],
            created=created,
            expires=None if valid_for is None else created + valid_for,
        )
    )
    return secret


def revoke_token(session: Session, name: str) -> int:
    """Make all tokens of this name worthless; how many there were."""
    tokens = session.scalars(select(Token).where(Token.name == name, ~Token.revoked)).all()
    for token in tokens:
        token.revoked = True
    return len(tokens)


def authorize(session: Session, settings: Settings, secret: str | None, scope: Scope) -> None:
    """Pass if this secret allows this; Unauthorized or Forbidden otherwise."""
    if settings.token is not None and _same(secret, settings.token.get_secret_value()):
        return
    if secret is None:
        if _open(session, settings):
            return
        raise Unauthorized("a token is needed here; send `Authorization: Bearer TOKEN`")
    token = session.get(Token, _digest(secret))
    if token is None or token.revoked:
        if _open(session, settings):
            return
        raise Unauthorized("the service does not know this token; ask for a new one")
    if token.expires is not None and token.expires <= now(session):
        raise Unauthorized(f"the token {token.name} has expired; ask for a new one")
    allowed = frozenset[Scope]().union(*(_IMPLIED[Scope(name)] for name in token.scopes))
    if scope not in allowed:
        raise Forbidden(
            f"the token {token.name} has the scopes {', '.join(token.scopes)}; this needs {scope}"
        )


def check_binding(settings: Settings, database: Database) -> None:
    """Refuse to serve other machines without tokens; InvalidRequest says what to do."""
    if settings.loopback or settings.token is not None:
        return
    with database.reading() as session:
        if _count(session) == 0:
            raise InvalidRequest(
                f"host {settings.host} is reachable from other machines and there is no token; "
                "set SRTUNE_TOKEN, or listen on 127.0.0.1"
            )


def _open(session: Session, settings: Settings) -> bool:
    """On this machine only, and nobody ever asked for tokens."""
    return settings.loopback and settings.token is None and _count(session) == 0


def _count(session: Session) -> int:
    return session.execute(select(func.count()).select_from(Token)).scalar_one()


def _same(secret: str | None, expected: str) -> bool:
    return secret is not None and hmac.compare_digest(secret.encode(), expected.encode())


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
