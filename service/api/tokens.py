"""Routes of tokens, for admins."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from service import once, tokens
from service.api.context import KeyDep, LogDep, ServiceDep, needs
from service.api.problems import documented
from service.contract.access import NewToken, Scope, TokenRequest, TokenView
from service.contract.errors import InvalidRequest, KeyReused, TokenNotFound

router = APIRouter(tags=["access"], dependencies=[needs(Scope.ADMIN)])
_HOUR = 3600.0


@router.post(
    "/tokens",
    status_code=201,
    summary="Make a token",
    responses=documented(InvalidRequest, KeyReused),
)
def create(
    service: ServiceDep, log: LogDep, key: KeyDep, request: TokenRequest, response: Response
) -> NewToken:
    """Its `secret` is shown this once; only a digest is stored.

    Therefore a repeat with the same `Idempotency-Key` cannot be told it again: it makes no second
    token, and hears which one to revoke.
    """
    valid_for = None if request.valid_hours is None else request.valid_hours * _HOUR
    with service.database.writing() as session:
        first = once.remembered(session, key)
        if first is not None:
            raise KeyReused(
                f"this Idempotency-Key made the token {first.body['id']}, whose secret was shown "
                "then and never again; revoke it and make another with a new key"
            )
        token, secret = tokens.make_token(
            session, request.name, request.scopes, owner=request.owner, valid_for=valid_for
        )
        words = ", ".join(token.scopes)
        log.note(session, "token.create", token.id, f"{token.name} of {token.owner}: {words}")
        once.remember(session, key, {"id": token.id})
        made = NewToken(**tokens.token_view(token).model_dump(), secret=secret)
    service.callers.forget()
    response.headers["Cache-Control"] = "no-store"
    return made


@router.get("/tokens", summary="Every token, without its secret")
def list_tokens(service: ServiceDep) -> list[TokenView]:
    """The newest first; revoked and expired ones too."""
    with service.database.reading() as session:
        return tokens.list_tokens(session)


@router.delete(
    "/tokens/{ref}",
    status_code=204,
    summary="Revoke a token",
    responses=documented(TokenNotFound),
)
def revoke(
    service: ServiceDep,
    log: LogDep,
    ref: Annotated[str, Path(description="Its id, or a name: then every token of that name.")],
) -> Response:
    """It is worth nothing here at once, and on other replicas within a second."""
    with service.database.writing() as session:
        for token in tokens.revoke_token(session, ref):
            log.note(session, "token.revoke", token.id, f"{token.name} of {token.owner}")
    service.callers.forget()
    return Response(status_code=204)
