"""Group commit: together on disk, apart in everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from service import trials
from service.contract.access import LOCAL
from service.contract.errors import InvalidRequest, LeaseLost, Unavailable, WorkerNotFound
from service.contract.trial import (
    Heartbeat,
    Lease,
    LeaseRequest,
    Release,
    Report,
    TrialState,
    Verdict,
)
from service.ledger import Ledger

Bench = Any  # of conftest, which cannot be imported


def _together(bench: Bench, work: Callable[[Ledger], Awaitable[Any]]) -> tuple[Any, list[int]]:
    """What this work returns, and how many operations each transaction held."""
    sizes: list[int] = []

    async def run() -> Any:
        with Ledger(bench.database, observe=sizes.append).open() as ledger:
            return await work(ledger)

    return asyncio.run(run()), sizes


async def _all(*operations: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*operations, return_exceptions=True)


def _report(bench: Bench, lease: Lease, step: int, **changes: Any) -> Callable[[Session], Verdict]:
    report = Report(token=lease.token, step=step, metrics={"psnr_y": 1.0, "mdsi": 1.0}, **changes)
    return lambda session: trials.report(
        session,
        lease.id,
        report,
        vocabulary=bench.vocabulary,
        blobs=bench.blobs,
        lease_seconds=30.0,
    )


def _leased(bench: Bench, count: int) -> list[Lease]:
    bench.calibrated(budget={"trials": count}, search={"ahead": 16})
    bench.propose()
    leases: list[Lease] = bench.lease(count)
    assert len(leases) == count
    return leases


def test_what_comes_together_is_committed_together(bench: Bench) -> None:
    leases = _leased(bench, 8)
    commits = []
    event.listen(bench.database.engine, "commit", lambda connection: commits.append(1))

    async def work(ledger: Ledger) -> list[Any]:
        return await _all(
            *(ledger.about(lease.id, _report(bench, lease, 25), rungs=True) for lease in leases)
        )

    answers, sizes = _together(bench, work)
    assert all(isinstance(answer, Verdict) for answer in answers)
    assert sum(sizes) == 8
    assert len(commits) == len(sizes) < 8


def test_a_refused_operation_takes_no_other_with_it_and_leaves_nothing(bench: Bench) -> None:
    first, second, third = _leased(bench, 3)
    missing = bench.checkpoint(25).model_copy(
        update={"blob": bench.checkpoint(25).blob.model_copy(update={"sha256": "0" * 64})}
    )
    stale = second.model_copy(update={"token": second.token + 1})

    async def work(ledger: Ledger) -> list[Any]:
        return await _all(
            ledger.about(first.id, _report(bench, first, 25), rungs=True),
            ledger.about(second.id, _report(bench, stale, 25), rungs=True),
            ledger.about(third.id, _report(bench, third, 25, checkpoint=missing), rungs=True),
            ledger.about(first.id, _report(bench, first, 50), rungs=True),
        )

    answers, _ = _together(bench, work)
    assert [type(answer) for answer in answers] == [Verdict, LeaseLost, InvalidRequest, Verdict]
    steps = {trial.uid: trial.step for trial in bench.trials(first.job.study_id)}
    assert [steps[lease.job.uid] for lease in (first, second, third)] == [50, 0, 0]


def test_workers_that_ask_together_get_different_trials(bench: Bench) -> None:
    study = bench.calibrated(budget={"trials": 12}, search={"ahead": 12})
    bench.propose()
    workers = [bench.register(f"w{number}") for number in range(8)]

    async def work(ledger: Ledger) -> list[Any]:
        asked = (LeaseRequest(worker=worker, request="one") for worker in workers)
        return await _all(*(ledger.lease(one, LOCAL, lease_seconds=30.0) for one in asked))

    answers, sizes = _together(bench, work)
    uids = [offer.leases[0].job.uid for offer in answers]
    assert len(set(uids)) == 8
    assert len(sizes) < 8
    assert bench.study(study).running == 8


def test_one_request_asked_twice_at_once_is_one_request(bench: Bench) -> None:
    bench.calibrated(budget={"trials": 12}, search={"ahead": 12})
    bench.propose()
    request = LeaseRequest(worker=bench.worker, capacity=2, request="one")

    async def work(ledger: Ledger) -> list[Any]:
        return await _all(*(ledger.lease(request, LOCAL, lease_seconds=30.0) for _ in range(4)))

    answers, _ = _together(bench, work)
    assert len({tuple(lease.id for lease in offer.leases) for offer in answers}) == 1


def test_a_stranger_among_those_who_ask_is_told_so_alone(bench: Bench) -> None:
    bench.submit()

    async def work(ledger: Ledger) -> list[Any]:
        asked = [LeaseRequest(worker="nobody"), LeaseRequest(worker=bench.worker)]
        return await _all(*(ledger.lease(one, LOCAL, lease_seconds=30.0) for one in asked))

    (stranger, offer), _ = _together(bench, work)
    assert isinstance(stranger, WorkerNotFound)
    assert len(offer.leases) == 1


def test_a_caller_who_hangs_up_stops_nobody(bench: Bench) -> None:
    one, two = _leased(bench, 2)

    async def work(ledger: Ledger) -> Verdict:
        gone = asyncio.ensure_future(ledger.about(one.id, _report(bench, one, 25), rungs=True))
        await asyncio.sleep(0)
        gone.cancel()
        return await ledger.about(two.id, _report(bench, two, 25), rungs=True)

    verdict, _ = _together(bench, work)
    assert verdict.action == "continue"


def test_what_was_taken_in_is_answered_before_the_end_and_nothing_after(bench: Bench) -> None:
    [lease] = _leased(bench, 1)
    beat = Heartbeat(token=lease.token, step=3)

    async def run() -> tuple[Any, Any]:
        ledger = Ledger(bench.database)
        with ledger.open():
            told = asyncio.ensure_future(
                ledger.about(lease.id, partial(_beat, lease_id=lease.id, beat=beat))
            )
            await asyncio.sleep(0)
        late = ledger.about(lease.id, partial(_release, bench=bench, lease=lease))
        return await _all(told, late)  # type: ignore[return-value]

    told, late = asyncio.run(run())
    assert (told.action, type(late)) == ("continue", Unavailable)
    assert bench.trials(lease.job.study_id)[1].state is TrialState.LEASED


def _beat(session: Session, *, lease_id: str, beat: Heartbeat) -> Verdict:
    return trials.heartbeat(session, lease_id, beat, lease_seconds=30.0)


def _release(session: Session, *, bench: Bench, lease: Lease) -> None:
    trials.release(session, lease.id, Release(token=lease.token), blobs=bench.blobs)


def test_a_bug_in_one_operation_is_its_own(bench: Bench) -> None:
    one, two = _leased(bench, 2)

    def broken(session: Session) -> None:
        raise ZeroDivisionError

    async def work(ledger: Ledger) -> list[Any]:
        return await _all(
            ledger.about(one.id, broken),
            ledger.about(two.id, _report(bench, two, 25), rungs=True),
        )

    (bug, verdict), _ = _together(bench, work)
    assert isinstance(bug, ZeroDivisionError)
    assert isinstance(verdict, Verdict)


@pytest.mark.parametrize("order", ["rising", "all in one"])
def test_rungs_reported_together_are_those_reported_one_by_one(bench: Bench, order: str) -> None:
    [lease] = _leased(bench, 1)
    scores = {step: {"psnr_y": 20.0 + step, "mdsi": 0.5} for step in (25, 50, 75)}
    if order == "rising":
        for step, metrics in scores.items():
            bench.report(lease, step, metrics=metrics)
    else:
        earlier = [{"step": step, "metrics": scores[step]} for step in (25, 50)]
        bench.report(lease, 75, metrics=scores[75], earlier=earlier)
    from service.views import trial_numbered

    with bench.database.reading() as session:
        study = bench.study(lease.job.study_id)
        assert trial_numbered(session, study, lease.job.number).rungs == scores
