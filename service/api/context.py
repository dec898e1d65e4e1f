"""What routes work with, and who may call them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from sqlalchemy.orm import Session

from service import audit
from service.blobs import Blobs
from service.callers import Callers
from service.contract.access import Caller, Scope
from service.contract.vocabulary import Vocabulary
from service.db import Database
from service.ledger import Ledger
from service.once import Key
from service.settings import Settings


@dataclass(frozen=True)
class Service:
    """The parts of a running service.

    Routes open their transaction themselves, `with service.database.writing()`: it is committed
    before the answer leaves, and no thread waits for a lock while another, which holds it, waits
    for a thread.
    """

    settings: Settings
    vocabulary: Vocabulary
    database: Database
    #: Writes what workers say, many at a time.
    ledger: Ledger
    blobs: Blobs
    callers: Callers
    #: Tells the proposer that something happened.
    wake: Callable[[], None]
    #: What the lab book says about itself: ready, starting, away or off.
    lab_book: Callable[[], str]
    #: Whether a request (method, path) to the lab book may change it.
    writes_pages: Callable[[str, str], bool]

    @property
    def tracking_url(self) -> str | None:
        """Where browsers find MLflow."""
        return f"{self.settings.url}/mlflow" if self.settings.mlflow else None


# Dependencies are `async` where they do not wait: FastAPI sends others through a thread.
async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]


async def recognised(request: Request) -> Caller:
    """Who asks; Unauthorized when nobody may know."""
    known: Caller | None = getattr(request.state, "caller", None)
    if known is not None:
        return known
    service: Service = request.app.state.service
    worth = await service.callers.recognise(_secret(request))
    # For the edge, which counts wrong guesses, and for the lab book, which has roles of its own.
    request.state.worth = worth
    caller = request.state.caller = worth.admitted()
    return caller


#: Who asks; Unauthorized when nobody may know.
CallerDep = Annotated[Caller, Depends(recognised)]


class _Needs(SecurityBase):
    """Passes callers who hold a scope. One dependency and not four, each of which costs 30 µs."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.scheme_name = "token"
        self.model = HTTPBearer(
            description="Not needed on loopback while there are no tokens. Browsers may send it as "
            "the password of Basic authentication, with any user name.",
        )

    async def __call__(self, request: Request) -> None:
        (await recognised(request)).check(self._scope)


def needs(scope: Scope) -> Any:
    """A dependency that passes callers who hold this scope."""
    return Depends(_Needs(scope))


async def needs_for_pages(request: Request, service: ServiceDep, caller: CallerDep) -> None:
    """Pass callers who may do this in the lab book: look, or write as workers do."""
    writes = service.writes_pages(request.method, request.path_params.get("path", ""))
    caller.check(Scope.WORKER if writes else Scope.READ)


IdempotencyKey = Annotated[
    str | None,
    Header(
        max_length=200,
        description="A word of the client's own: a repeat with it gets the first answer again.",
    ),
]


async def _key(
    request: Request, caller: CallerDep, idempotency_key: IdempotencyKey = None
) -> Key | None:
    if idempotency_key is None:
        return None
    body = await request.body()
    return Key(idempotency_key, caller, request.method, request.url.path, _canonical(body))


#: The Idempotency-Key of a request with the body it came with; None without the header.
KeyDep = Annotated[Key | None, Depends(_key)]


@dataclass(frozen=True)
class Log:
    """The audit log as one request writes it."""

    caller: Caller
    request_id: str

    def note(self, session: Session, action: str, subject: str, detail: str = "") -> None:
        """Write down a change in its own transaction; `detail` holds no secrets."""
        audit.note(session, self.caller, action, subject, detail, request_id=self.request_id)


async def _log(request: Request, caller: CallerDep) -> Log:
    return Log(caller, getattr(request.state, "request_id", ""))


LogDep = Annotated[Log, Depends(_log)]


def _canonical(body: bytes) -> bytes:
    """JSON in one spelling, so that a repeat may order its fields otherwise."""
    try:
        return json.dumps(json.loads(body), sort_keys=True).encode()
    except (ValueError, RecursionError):
        return body


def _secret(request: Request) -> str | None:
    """The token of a request: as `Bearer`, or as the password of a browser's prompt."""
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return sent.strip()
    return _password(sent) if scheme.lower() == "basic" else None


def _password(encoded: str) -> str | None:
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None
