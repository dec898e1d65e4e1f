"""Whose run is it: the token that the worker of a trial's newest attempt registered with."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from sqlalchemy import select

from service.db import Database
from service.models import Attempt, Study, Trial, Worker

_MOST = 4096


class RunOwner(NamedTuple):
    """The token that may write to a run, and the experiment the run is in."""

    token_id: str | None
    experiment_id: str | None


class RunOwners:
    """Answers from our rows, kept for `fresh` seconds: so long a worker may write on to a run
    whose trial went to another.
    """

    def __init__(self, database: Database, *, fresh: float = 1.0) -> None:
        self._database = database
        self._fresh = fresh
        self._known: dict[str, tuple[float, RunOwner | None]] = {}

    def of(self, run_id: str) -> RunOwner | None:
        """The owner of a run; None for a run of no trial."""
        at, owner = self._known.get(run_id, (-math.inf, None))
        if time.monotonic() - at < self._fresh:
            return owner
        with self._database.reading() as session:
            row = session.execute(
                select(Worker.token_id, Study.experiment_id)
                .select_from(Trial)
                .join(Study, Study.id == Trial.study_id)
                .join(Attempt, (Attempt.trial_uid == Trial.uid) & (Attempt.token == Trial.token))
                .join(Worker, Worker.id == Attempt.worker_id)
                .where(Trial.run_id == run_id)
            ).one_or_none()
        owner = None if row is None else RunOwner(*row)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[run_id] = time.monotonic(), owner
        return owner
