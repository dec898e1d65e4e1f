"""Workers, known and gone."""

from __future__ import annotations

from typing import Any

import pytest

from service import fleet
from service.contract.errors import WorkerNotFound
from service.contract.worker import WorkerState
from service.models import Worker

Bench = Any


def _views(bench: Bench) -> dict[str, Any]:
    with bench.database.reading() as session:
        return {view.name: view for view in fleet.workers(session)}


def _silence(bench: Bench, seconds: float) -> None:
    with bench.database.writing() as session:
        session.get_one(Worker, bench.worker).last_seen -= seconds


def test_the_same_name_is_the_same_worker(bench: Bench) -> None:
    assert bench.register("one", slots=3) == bench.worker
    assert bench.register("two") != bench.worker
    assert _views(bench)["one"].slots == 3


def test_the_fleet_shows_what_each_worker_holds(bench: Bench) -> None:
    bench.calibrated()
    bench.lease()
    bench.register("idle")
    views = _views(bench)
    assert views["one"].holds == ["small#1"]
    assert views["idle"].holds == []


def test_a_draining_worker_gets_nothing_new_until_it_registers_again(bench: Bench) -> None:
    bench.submit()
    with bench.database.writing() as session:
        assert fleet.drain(session, bench.worker).state is WorkerState.DRAINING
    assert bench.lease() == []
    bench.register("one")
    assert len(bench.lease()) == 1


def test_draining_a_stranger_is_refused(bench: Bench) -> None:
    with bench.database.writing() as session, pytest.raises(WorkerNotFound):
        fleet.drain(session, "nobody")


def test_a_worker_is_gone_after_three_lease_times_and_back_when_it_speaks(bench: Bench) -> None:
    bench.submit()
    _silence(bench, 80.0)
    with bench.database.writing() as session:
        assert fleet.bury(session, lease_seconds=30.0) == []
    _silence(bench, 15.0)
    with bench.database.writing() as session:
        assert fleet.bury(session, lease_seconds=30.0) == ["one"]
    assert _views(bench)["one"].state is WorkerState.GONE
    assert len(bench.lease()) == 1
    assert _views(bench)["one"].state is WorkerState.ACTIVE
