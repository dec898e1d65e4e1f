"""The route of the audit log, for admins."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from service import audit
from service.api.context import ServiceDep, needs
from service.api.problems import documented
from service.contract.access import Scope
from service.contract.errors import InvalidRequest
from service.contract.trial import Page

router = APIRouter(tags=["access"], dependencies=[needs(Scope.ADMIN)])


@router.get("/audit", summary="Who changed what", responses=documented(InvalidRequest))
def list_entries(
    service: ServiceDep,
    subject: Annotated[
        str | None,
        Query(max_length=200, description="Only changes of this study, token, owner or worker."),
    ] = None,
    cursor: Annotated[
        str | None, Query(max_length=40, description="`next` of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Page:
    """Changes of state that people, operators and the service itself made, newest first."""
    with service.database.reading() as session:
        found, following = audit.entries(session, subject=subject, cursor=cursor, limit=limit)
    return Page(items=found, next=following)
