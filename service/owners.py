"""Quotas of owners: what their studies may take of the fleet together."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.contract.access import OwnerView, Quota
from service.contract.errors import OwnerNotFound
from service.db import lock
from service.models import Owner


def set_quota(session: Session, name: str, quota: Quota) -> OwnerView:
    """Give an owner this quota instead of the one before."""
    # Two who set the quota of a new owner at once would both insert.
    lock(session, f"owner:{name}")
    row = session.get(Owner, name) or Owner(name=name)
    row.weight = quota.weight
    row.max_running = quota.max_running
    row.gpu_hours = quota.gpu_hours
    session.add(row)
    return _view(row)


def find_quota(session: Session, name: str) -> OwnerView:
    """An owner's quota; OwnerNotFound where none was set, which means no limits and weight 1."""
    row = session.get(Owner, name)
    if row is None:
        raise OwnerNotFound(f"no quota was set for {name!r}: it has no limits and weight 1")
    return _view(row)


def list_quotas(session: Session) -> list[OwnerView]:
    """Every owner that a quota was set for."""
    return [_view(row) for row in session.scalars(select(Owner).order_by(Owner.name))]


def delete_quota(session: Session, name: str) -> bool:
    """Let an owner have no limits and weight 1 again; whether that changed anything."""
    row = session.get(Owner, name)
    if row is not None and row.deleted_seconds:
        # What was used stays used, should a quota be set again.
        set_quota(session, name, Quota())
    elif row is not None:
        session.delete(row)
    return row is not None


def _view(row: Owner) -> OwnerView:
    return OwnerView(
        name=row.name, weight=row.weight, max_running=row.max_running, gpu_hours=row.gpu_hours
    )
