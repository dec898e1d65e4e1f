"""Leases are kept alive by a thread, and parcels delivered by another, whatever the service does."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from service.contract.trial import Action, Lease, LeaseRequest, Report
from tests.workers import tiny_training as tiny
from tests.workers.small_service import SmallService
from workers.delivery import Courier, News, Parcel
from workers.delivery import report as reported
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


def rung(holding: Holding, step: int, folder: Path, metrics: dict[str, float]) -> Parcel:
    checkpoint = folder / f"{step}.pt"
    checkpoint.write_bytes(f"state at {step}".encode())
    news = News(step, metrics, checkpoint)
    return Parcel(holding, reported(holding.lease, [news]), news=news)


def test_reports_that_piled_up_go_as_one_with_the_newest_checkpoint(
    service: SmallService, lease: Lease, tmp_path: Path
) -> None:
    holding, other = Holding(lease), Holding(lease.model_copy(update={"id": "l9"}))
    service.away = True
    shown: list[int] = []
    parcels = [
        rung(holding, 1, tmp_path, {"psnr_y": 20.0}),
        rung(holding, 2, tmp_path, {}),
        rung(other, 7, tmp_path, {"psnr_y": 5.0}),
        rung(holding, 3, tmp_path, {"psnr_y": 22.0}),
        report(holding, 4),
        rung(holding, 5, tmp_path, {"psnr_y": 23.0}),
    ]
    for number, parcel in enumerate(parcels):
        parcel.after = partial(shown.append, number)
    with Courier(service.client(), pause=0.01) as courier:
        for parcel in parcels:
            courier.send(parcel)
        time.sleep(0.2)
        service.away = False
        wait(lambda: all(parcel.delivered for parcel in parcels))
    steps = [(body["step"], [r["step"] for r in body["earlier"]]) for _, body in service.told]
    assert steps == [(3, [1]), (7, []), (4, []), (5, [])]
    first = service.told[0][1]
    assert first["earlier"] == [{"step": 1, "metrics": {"psnr_y": 20.0}}]
    assert service.blobs[first["checkpoint"]["blob"]["sha256"]] == b"state at 3"
    assert b"state at 1" not in service.blobs.values()
    assert sorted(shown) == list(range(6))


def test_a_verdict_on_several_rungs_is_heard_once(
    service: SmallService, lease: Lease, tmp_path: Path
) -> None:
    holding = Holding(lease)
    service.away = True
    service.verdicts["reports"] = Action.PRUNE
    parcels = [rung(holding, step, tmp_path, {"psnr_y": 1.0}) for step in (1, 2, 3)]
    with Courier(service.client(), pause=0.01) as courier:
        for parcel in parcels:
            courier.send(parcel)
        time.sleep(0.1)
        service.away = False
        wait(lambda: all(parcel.settled for parcel in parcels))
    assert holding.action is Action.PRUNE
    assert len(service.told) == 1


def test_a_busy_service_refuses_nothing(service: SmallService, lease: Lease) -> None:
    service.refuse["reports"] = (429, "RateLimited")
    parcel = report(Holding(lease), 1)
    with Courier(service.client(), pause=0.01, longest=0.02) as courier:
        courier.send(parcel)
        time.sleep(0.5)
        assert not parcel.settled
        del service.refuse["reports"]
        wait(lambda: parcel.delivered)


def test_a_lease_is_forsaken_after_its_end_and_not_any_more_once_heard(
    service: SmallService, lease: Lease
) -> None:
    holding = Holding(lease)
    found = [holding.forsaken]
    for silence in (lease.expires_in + 5, 6):  # a service that starts again is waited for
        holding.renewed -= silence
        found.append(holding.forsaken)
    Heartbeats(service.client()).beat(holding)
    assert [*found, holding.forsaken] == [False, False, True, False]


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
