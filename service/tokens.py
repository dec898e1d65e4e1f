"""Bearer tokens: made, listed, revoked, and recognised; only digests of them are stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, or_, select, update
from sqlalchemy.orm import Session

from service.contract.access import IMPLIED, OPERATOR, Caller, TokenView
from service.contract.access import Scope as Scope
from service.contract.errors import InvalidRequest, TokenNotFound, Unauthorized
from service.db import Database, now
from service.models import Token
from service.settings import Settings


def create_token(
    session: Session,
    name: str,
    scopes: list[Scope],
    *,
    owner: str = "local",
    valid_for: float | None = None,
) -> str:
    """A new secret, returned this once; `valid_for` in seconds, default for ever."""
    return make_token(session, name, scopes, owner=owner, valid_for=valid_for)[1]


def make_token(
    session: Session,
    name: str,
    scopes: list[Scope],
    *,
    owner: str,
    valid_for: float | None,
) -> tuple[Token, str]:
    """A token's row with its secret."""
    if not scopes:
        raise InvalidRequest(f"token {name} has no scopes; give some of {', '.join(Scope)}")
    secret = f"srt_{secrets.token_urlsafe(32)}"
    created = now(session)
    token = Token(
        sha256=digest(secret),
        id=f"t{secrets.token_hex(6)}",
        name=name,
        owner=owner,
        scopes=[scope.value for scope in dict.fromkeys(scopes)],
        created=created,
        expires=None if valid_for is None else created + valid_for,
        revoked=False,
    )
    session.add(token)
    session.flush()
    return token, secret


def list_tokens(session: Session) -> list[TokenView]:
    """Every token ever made, the newest first; without secrets, which nobody knows any more."""
    found = session.scalars(select(Token).order_by(Token.created.desc(), Token.id))
    return [token_view(token) for token in found]


def token_view(token: Token) -> TokenView:
    """A token as everybody may see it."""
    return TokenView(
        id=token.id,
        name=token.name,
        owner=token.owner,
        scopes=[Scope(word) for word in token.scopes],
        created=token.created,
        expires=token.expires,
        revoked=token.revoked,
        last_used=token.last_used,
    )


def revoke_token(session: Session, ref: str) -> list[Token]:
    """Make worthless the token of this id, or all of this name; those that were not yet.

    TokenNotFound if there never was one.
    """
    tokens = session.scalars(select(Token).where(or_(Token.id == ref, Token.name == ref))).all()
    if not tokens:
        raise TokenNotFound(f"no token has the id or name {ref!r}; see GET /tokens")
    valid = [token for token in tokens if not token.revoked]
    for token in valid:
        token.revoked = True
    return valid


@dataclass(frozen=True, slots=True)
class Pass:
    """What a secret is worth: its caller, or why it is worth nothing."""

    caller: Caller | None
    refusal: str = ""
    #: Seconds until it expires.
    lasts: float | None = None
    #: Whether the service never heard of it, as with guesses.
    unknown: bool = False

    def admitted(self) -> Caller:
        """The caller; Unauthorized if there is none."""
        if self.caller is None:
            raise Unauthorized(self.refusal)
        return self.caller


_UNKNOWN = Pass(None, "the service does not know this token; ask for a new one", unknown=True)
NO_TOKEN = Pass(None, "a token is needed here; send `Authorization: Bearer TOKEN`")


def passes(session: Session, digests: set[str]) -> dict[str, Pass]:
    """What these digests are worth now, in one statement."""
    at = now(session)
    rows = session.scalars(select(Token).where(Token.sha256.in_(digests)))
    known = {row.sha256: _pass(row, at) for row in rows}
    return {one: known.get(one, _UNKNOWN) for one in digests}


def any_token(session: Session) -> bool:
    """Whether anybody ever made a token."""
    return bool(session.execute(select(exists(select(Token.sha256)))).scalar_one())


def is_valid(session: Session, token_id: str) -> bool:
    """Whether a token, by its id, still opens anything."""
    live: ColumnElement[bool] = or_(Token.expires.is_(None), Token.expires > now(session))
    found = select(exists().where(Token.id == token_id, ~Token.revoked, live))
    return bool(session.execute(found).scalar_one())


def note_uses(session: Session, digests: set[str]) -> None:
    """Remember that these tokens were used."""
    used = update(Token).where(Token.sha256.in_(digests)).values(last_used=now(session))
    session.execute(used, execution_options={"synchronize_session": False})


def check_binding(settings: Settings, database: Database) -> None:
    """Refuse to serve other machines without tokens; InvalidRequest says what to do."""
    if settings.loopback or settings.token is not None:
        return
    with database.reading() as session:
        if not any_token(session):
            raise InvalidRequest(
                f"host {settings.host} is reachable from other machines and there is no token; "
                "set SRTUNE_TOKEN, or listen on 127.0.0.1"
            )


def operator(settings: Settings, secret: str) -> Caller | None:
    """The operator, if this is the token of the service's own environment."""
    if settings.token is None:
        return None
    expected = settings.token.get_secret_value().encode()
    same = hmac.compare_digest(secret.encode(), expected)
    return OPERATOR if same and expected else None


def digest(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _pass(token: Token, at: float) -> Pass:
    if token.revoked:
        return Pass(None, f"the token {token.name} was revoked; ask for a new one")
    if token.expires is not None and token.expires <= at:
        return Pass(None, f"the token {token.name} has expired; ask for a new one")
    scopes = frozenset[Scope]().union(*(IMPLIED[Scope(word)] for word in token.scopes))
    lasts = None if token.expires is None else token.expires - at
    return Pass(Caller(token.id, token.owner, scopes), lasts=lasts)
