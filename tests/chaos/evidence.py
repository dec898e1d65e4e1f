"""A history and a dump side by side, indexed for the checks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from tests.chaos.history import WRITES, Operation
from tests.chaos.tables import Tables


class Evidence:
    """A history and a dump, indexed."""

    def __init__(
        self,
        operations: Sequence[Operation],
        tables: Tables,
        *,
        lease_seconds: float,
        offset: float = 0.0,
    ) -> None:
        self.operations = list(operations)
        self.tables = tables
        self.lease_seconds = lease_seconds
        #: The database's clock minus the history's.
        self.offset = offset
        self.studies = {row["id"]: row for row in tables.studies}
        self.trials = {row["uid"]: row for row in tables.trials}
        self.attempts = {row["lease_id"]: row for row in tables.attempts}

    @cached_property
    def attempts_of(self) -> dict[str, list[dict[str, Any]]]:
        """Each trial's attempts in order of their tokens."""
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in sorted(self.tables.attempts, key=lambda row: row["token"]):
            found[row["trial_uid"]].append(row)
        return found

    @cached_property
    def writes_of(self) -> dict[str, list[Operation]]:
        """Each lease's writes in order of their beginnings."""
        found: dict[str, list[Operation]] = defaultdict(list)
        for one in self.operations:
            if one.kind in WRITES:
                found[one.lease].append(one)
        return found

    @cached_property
    def grants(self) -> list[tuple[Operation, dict[str, Any]]]:
        """Every lease that a client was told of, once per telling."""
        return [
            (one, lease)
            for one in self.operations
            if one.kind == "lease" and one.accepted
            for lease in one.answer or []
        ]

    @cached_property
    def granted_at(self) -> dict[tuple[str, int], float]:
        """(trial, token) → when a client first knew of this lease."""
        found: dict[tuple[str, int], float] = {}
        for one, lease in self.grants:
            key, at = (lease["uid"], lease["token"]), one.ended or 0.0
            found[key] = min(found.get(key, at), at)
        return found

    def fenced_at(self, lease_id: str) -> float | None:
        """When it was first known that a newer lease of this lease's trial had been granted."""
        attempt = self.attempts.get(lease_id)
        if attempt is None:
            return None
        newer = [
            self.granted_at[row["trial_uid"], row["token"]]
            for row in self.attempts_of[attempt["trial_uid"]]
            if row["token"] > attempt["token"]
            and (row["trial_uid"], row["token"]) in self.granted_at
        ]
        return min(newer, default=None)

    def study_of(self, attempt: dict[str, Any]) -> str:
        return str(self.trials[attempt["trial_uid"]]["study_id"])

    def stale_writes(self) -> list[Operation]:
        """Writes sent by a worker whose trial was known to be another's: the zombies' races."""
        found = []
        for lease_id, writes in self.writes_of.items():
            fenced = self.fenced_at(lease_id)
            if fenced is not None:
                found += [one for one in writes if one.begun > fenced]
        return found
