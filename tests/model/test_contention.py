"""Many at the same moment: 64 threads, two services, one study, one database."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress

import pytest
from sqlalchemy import select

from service import dispatch, fleet, studies
from service.contract.errors import Unavailable
from service.contract.trial import (
    Lease,
    LeaseRequest,
    TrialKind,
    TrialState,
)
from service.contract.worker import Device, Registration
from service.db import Database
from service.models import Attempt, Owner, Study, Trial
from service.queue import enqueue
from tests.model.scene import LEASE_SECONDS, definition, vocabulary

THREADS = 64
TRIALS = 1000


@contextmanager
def _two_services(url: str) -> Iterator[list[Database]]:
    """Two doors to one database, as two processes have them: no lock of a process helps here."""
    with closing(Database(url)) as one, closing(Database(url)) as other:
        yield [one, other]


def _study(database: Database, *, trials: int, name: str = "crowded", **changes: object) -> str:
    """A study past its start job, with so many trials in its queue."""
    with database.writing() as session:
        raw = definition(name, budget={"trials": trials}, **changes)
        study = studies.create(session, raw, vocabulary())
        study.calibration = {"norms": {}, "values": {}, "batches": 1}
        study.seeded = True
        for start in session.scalars(select(Trial).where(Trial.study_id == study.id)):
            start.kind = TrialKind.SEARCH
            study.searched += 1
        for _ in range(trials - 1):
            enqueue(session, study, kind=TrialKind.SEARCH, origin="user", seed=0)
        return study.id


def _workers(database: Database, count: int) -> list[str]:
    device = Device(kind="cpu", name="cpu")
    with database.writing() as session:
        return [
            fleet.register(session, Registration(name=f"w{n}", devices=[device], slots=8)).id
            for n in range(count)
        ]


def _ask(database: Database, worker: str, capacity: int) -> list[Lease]:
    request = LeaseRequest(worker=worker, capacity=capacity)
    while True:
        # On a busy machine some wait longer for the study's row than a statement may take; they
        # are told to try again, and do.
        with suppress(Unavailable), database.writing() as session:
            return dispatch.lease(session, request, lease_seconds=LEASE_SECONDS).leases


def _all_at_once(acts: list[Callable[[], list[Lease]]]) -> list[Lease]:
    """Every act in a thread of its own, all begun together."""
    ready = threading.Barrier(len(acts))

    def begin(act: Callable[[], list[Lease]]) -> list[Lease]:
        ready.wait()
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return [lease for found in pool.map(begin, acts) for lease in found]


def test_no_trial_is_leased_twice_however_many_ask_at_once(database_url: str) -> None:
    with _two_services(database_url) as doors:
        _study(doors[0], trials=TRIALS)
        workers = _workers(doors[0], THREADS)

        def act(number: int) -> Callable[[], list[Lease]]:
            def ask_until_empty() -> list[Lease]:
                found: list[Lease] = []
                while leases := _ask(doors[number % 2], workers[number], 1 + number % 8):
                    found += leases
                return found

            return ask_until_empty

        leases = _all_at_once([act(number) for number in range(THREADS)])
        counts = Counter(lease.job.uid for lease in leases)
        assert counts.most_common(1)[0][1] == 1
        assert len(counts) == TRIALS
        with doors[0].reading() as session:
            attempts = session.scalars(select(Attempt)).all()
            assert {attempt.token for attempt in attempts} == {1}
            assert len({attempt.lease_id for attempt in attempts}) == TRIALS


@pytest.mark.parametrize("limit", ["study", "owner"])
def test_limits_hold_while_everybody_asks_at_once(database_url: str, limit: str) -> None:
    cap = 10
    with _two_services(database_url) as doors:
        if limit == "study":
            _study(doors[0], trials=100, max_running=cap)
        else:
            for name in ("one", "two", "three"):
                _study(doors[0], trials=40, name=name)
            with doors[0].writing() as session:
                session.add(Owner(name="local", weight=1.0, max_running=cap))
        workers = _workers(doors[0], THREADS)

        def act(number: int) -> Callable[[], list[Lease]]:
            return lambda: _ask(doors[number % 2], workers[number], 3)

        leases = _all_at_once([act(number) for number in range(THREADS)])
        assert len(leases) <= cap
        with doors[0].reading() as session:
            running = session.scalars(select(Trial).where(Trial.state == TrialState.LEASED)).all()
            counted = sum(study.running for study in session.scalars(select(Study)))
        assert len(running) == counted == len(leases)
