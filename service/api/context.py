"""What routes work with, and who may call them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

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

    @property
    def tracking_url(self) -> str | None:
        """Where browsers find MLflow."""
        return f"{self.settings.url}/mlflow" if self.settings.mlflow else None


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]
_bearer = HTTPBearer(auto_error=False, description="A token; not needed on loopback without any.")


def needs(scope: Scope) -> Any:
    """A dependency that passes callers who hold this scope."""

    def check(
        service: ServiceDep,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> None:
        secret = None if credentials is None else credentials.credentials
        with service.database.reading() as session:
            authorize(session, service.settings, secret, scope)

    return Depends(check)
