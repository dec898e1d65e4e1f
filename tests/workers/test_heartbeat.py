"""Leases are kept alive by a thread, and parcels delivered by another, whatever the service does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from service.contract.trial import Action, Lease, LeaseRequest, Report
from tests.workers import tiny_training as tiny
from tests.workers.small_service import SmallService
from workers.delivery import Courier, Parcel
from workers.heartbeat import Heartbeats, Holding


def wait(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@pytest.fixture
def service() -> SmallService:
    return SmallService()


@pytest.fixture
def lease(service: SmallService, tmp_path: Path) -> Lease:
    definition = tiny.define(tiny.write_photos(tmp_path))
    service.offer(tiny.job(definition))
    return service.client().lease(LeaseRequest(worker="w1"))[0]


def report(holding: Holding, step: int) -> Parcel:
    message = Report(token=holding.lease.token, step=step, metrics={})
    lease = holding.lease.id
    return Parcel(holding, lambda _: lambda client: client.report(lease, message))


def test_beats_carry_the_step_and_go_on_until_dropped(service: SmallService, lease: Lease) -> None:
    holding = Holding(lease, step=7, steps_per_second=2.5)
    with Heartbeats(service.client()) as heartbeats:
        heartbeats.add(holding)
        wait(lambda: len(service.beats) >= 3)
        heartbeats.drop(holding)
        time.sleep(0.1)
        count = len(service.beats)
        time.sleep(0.2)
    assert service.beats[0] == {"token": lease.token, "step": 7, "steps_per_second": 2.5}
    assert len(service.beats) == count


def test_beats_survive_an_outage_and_the_lease_is_not_given_up(
    service: SmallService, lease: Lease
) -> None:
    holding = Holding(lease)
    with Heartbeats(service.client()) as heartbeats:
        service.away = True
        heartbeats.add(holding)
        time.sleep(0.3)
        assert holding.open
        service.away = False
        wait(lambda: service.beats)
    assert holding.open


def test_stop_stays_stopped(service: SmallService, lease: Lease) -> None:
    holding = Holding(lease)
    heartbeats = Heartbeats(service.client())
    service.verdicts["heartbeat"] = Action.STOP
    heartbeats.beat(holding)
    service.verdicts["heartbeat"] = Action.CONTINUE
    heartbeats.beat(holding)
    assert holding.action is Action.STOP
    assert not holding.open
    assert len(service.beats) == 1  # nothing more is said about it


def test_lost_lease_is_marked_as_lost(service: SmallService, lease: Lease) -> None:
    holding = Holding(lease)
    service.lost.add(lease.id)
    Heartbeats(service.client()).beat(holding)
    assert holding.lost


def test_no_beat_comes_between_a_report_and_its_answer(service: SmallService, lease: Lease) -> None:
    holding = Holding(lease)
    with holding.talking:
        Heartbeats(service.client()).beat(holding)
    assert service.beats == []


def test_parcels_arrive_in_order_once_the_service_is_back(
    service: SmallService, lease: Lease
) -> None:
    holding = Holding(lease)
    service.away = True
    parcels = [report(holding, step) for step in (1, 2, 3)]
    with Courier(service.client(), pause=0.01) as courier:
        for parcel in parcels:
            courier.send(parcel)
        time.sleep(0.2)
        assert not any(parcel.settled for parcel in parcels)
        service.away = False
        wait(lambda: all(parcel.delivered for parcel in parcels))
    assert [body["step"] for kind, body in service.told] == [1, 2, 3]


def test_parcels_of_a_lost_lease_are_dropped_and_others_go_on(
    service: SmallService, lease: Lease
) -> None:
    lost, kept = Holding(lease), Holding(lease.model_copy(update={"id": "l9"}))
    service.lost.add(lease.id)
    parcels = [report(lost, 1), report(lost, 2), report(kept, 3)]
    with Courier(service.client()) as courier:
        for parcel in parcels:
            courier.send(parcel)
        wait(lambda: all(parcel.settled for parcel in parcels))
    assert lost.lost
    assert [body["step"] for kind, body in service.told] == [3]


def test_refused_report_says_why(service: SmallService, lease: Lease) -> None:
    service.refuse["reports"] = (422, "InvalidRequest")
    parcel = report(Holding(lease), 1)
    with Courier(service.client()) as courier:
        courier.send(parcel)
        wait(lambda: parcel.settled)
    assert parcel.refused == "InvalidRequest was asked for"
    assert not parcel.full


def test_service_that_answers_with_faults_is_given_up_after_a_while(
    service: SmallService, lease: Lease
) -> None:
    service.refuse["reports"] = (500, "SrtuneError")
    parcel = report(Holding(lease), 1)
    with Courier(service.client(), pause=0.001, longest=0.002) as courier:
        courier.send(parcel)
        wait(lambda: parcel.settled)
    assert parcel.holding.lost
