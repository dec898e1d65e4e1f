"""What routes work with, and who may call them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import (
    HTTPAuthorizationCredentials,
    HTTPBasic,
    HTTPBasicCredentials,
    HTTPBearer,
)

from service.blobs import Blobs
from service.contract.vocabulary import Vocabulary
from service.db import Database
from service.settings import Settings
from service.tokens import Scope, authorize


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
    blobs: Blobs
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


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]
_bearer = HTTPBearer(auto_error=False, description="A token; not needed on loopback without any.")
#: Browsers cannot send bearer tokens; their password prompt takes one, whatever the user name.
_basic = HTTPBasic(auto_error=False, description="For browsers: any user, the token as password.")


def _secret(
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    basic: Annotated[HTTPBasicCredentials | None, Depends(_basic)],
) -> str | None:
    if bearer is not None:
        return bearer.credentials
    return None if basic is None else basic.password


SecretDep = Annotated[str | None, Depends(_secret)]


def needs(scope: Scope) -> Any:
    """A dependency that passes callers who hold this scope."""

    def check(service: ServiceDep, secret: SecretDep) -> None:
        _authorize(service, secret, scope)

    return Depends(check)


def needs_for_pages(request: Request, service: ServiceDep, secret: SecretDep) -> None:
    """Pass callers who may do this in the lab book: look, or write as workers do."""
    writes = service.writes_pages(request.method, request.path_params["path"])
    _authorize(service, secret, Scope.WORKER if writes else Scope.READ)


def _authorize(service: Service, secret: str | None, scope: Scope) -> None:
    with service.database.reading() as session:
        authorize(session, service.settings, secret, scope)
