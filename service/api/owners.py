"""Routes of owners' quotas, for admins."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from service import owners
from service.api.context import LogDep, ServiceDep, needs
from service.api.problems import documented
from service.contract.access import NAME, OwnerView, Quota, Scope
from service.contract.errors import InvalidRequest, OwnerNotFound

router = APIRouter(tags=["access"], dependencies=[needs(Scope.ADMIN)])
Name = Annotated[str, Path(pattern=NAME, description="As in the owner's tokens.")]


@router.put("/owners/{name}", summary="Set an owner's quota", responses=documented(InvalidRequest))
def put(service: ServiceDep, log: LogDep, name: Name, quota: Quota) -> OwnerView:
    """Counts from the next lease on; what trains goes on."""
    with service.database.writing() as session:
        view = owners.set_quota(session, name, quota)
        log.note(session, "owner.set", name, quota.model_dump_json())
    return view


@router.get("/owners", summary="Owners with a quota")
def list_owners(service: ServiceDep) -> list[OwnerView]:
    """By name; owners who are not listed have no limits and weight 1."""
    with service.database.reading() as session:
        return owners.list_quotas(session)


@router.get("/owners/{name}", summary="An owner's quota", responses=documented(OwnerNotFound))
def get(service: ServiceDep, name: Name) -> OwnerView:
    """404 where none was set."""
    with service.database.reading() as session:
        return owners.find_quota(session, name)


@router.delete("/owners/{name}", status_code=204, summary="Remove an owner's quota")
def delete(service: ServiceDep, log: LogDep, name: Name) -> Response:
    """No limits and weight 1 again; removing none is fine."""
    with service.database.writing() as session:
        if owners.delete_quota(session, name):
            log.note(session, "owner.delete", name)
    return Response(status_code=204)
