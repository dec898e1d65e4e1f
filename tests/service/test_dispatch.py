"""Whose turn it is, and within which limits."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest

from service import attempts, dispatch
from service.contract.access import Caller, Quota, Scope
from service.contract.errors import Forbidden, IllegalMove
from service.contract.trial import (
    EnqueueRequest,
    FailureCause,
    Lease,
    LeaseRequest,
    StudyState,
    TrialState,
)
from service.contract.worker import WorkerState
from service.models import Attempt, Owner, Study, Trial, Worker
from service.owners import set_quota
from service.studies import add_trial

Bench = Any  # of conftest, which cannot be imported


def _queue(bench: Bench, trials: int, *, owner: str = "local", **changes: Any) -> str:
    """A calibrated study with so many trials waiting."""
    study: str = bench.calibrated(**{"budget": {"trials": 500}, **changes, "priority": 99})
    with bench.database.writing() as session:
        row = session.get_one(Study, study)
        row.owner, row.priority = owner, 0
        # The start job took no time worth speaking of.
        row.device_seconds, row.attempts_ended, row.fair_end = 0.0, 0, row.fair_start
    with bench.database.writing() as session:
        for number in range(trials - 1):
            weights = {"l1": 1.0, "content": 0.001 * (number + 1)}
            add_trial(session, study, EnqueueRequest(weights=weights), bench.vocabulary)
    return study


def _ask(bench: Bench, **words: Any) -> list[Lease]:
    request = LeaseRequest(worker=words.pop("worker", bench.worker), **words)
    with bench.database.writing() as session:
        leases: list[Lease] = dispatch.lease(session, request, lease_seconds=30.0).leases
    return leases


def _turns(bench: Bench, count: int, *, finish: bool) -> list[str]:
    """Which studies get so many leases one after another."""
    got = []
    for _ in range(count):
        [lease] = _ask(bench)
        got.append(lease.job.study_id)
        if finish:
            _finish(bench, lease)
    return got


def _finish(bench: Bench, lease: Lease, seconds: float = 10.0) -> None:
    """Complete a trial that took so long."""
    _set_back(bench, lease.job.uid, seconds)
    bench.complete(lease)


def _set_back(bench: Bench, uid: str, seconds: float) -> None:
    """Let an attempt have begun earlier than it did."""
    with bench.database.writing() as session:
        trial = session.get_one(Trial, uid)
        session.get_one(Attempt, (uid, trial.token)).started -= seconds


@pytest.mark.parametrize("finish", [True, False], ids=["one slot", "many slots"])
def test_studies_share_the_fleet_by_their_weights(bench: Bench, finish: bool) -> None:
    light, heavy = _queue(bench, 80), _queue(bench, 80, weight=3.0)
    counts = Counter(_turns(bench, 80, finish=finish))
    assert counts[heavy] == pytest.approx(60, abs=4)
    assert counts[light] == pytest.approx(20, abs=4)


def test_an_owners_weight_is_divided_among_its_studies(bench: Bench) -> None:
    one = _queue(bench, 70, owner="ann")
    others = [_queue(bench, 40, owner="bob") for _ in range(3)]
    counts = Counter(_turns(bench, 60, finish=True))
    assert counts[one] == pytest.approx(30, abs=3), "three studies are no more share than one"
    assert all(counts[other] == pytest.approx(10, abs=2) for other in others)


def test_an_owners_own_weight_counts(bench: Bench) -> None:
    ann, bob = _queue(bench, 60, owner="ann"), _queue(bench, 60, owner="bob")
    with bench.database.writing() as session:
        set_quota(session, "bob", Quota(weight=4.0))
    counts = Counter(_turns(bench, 50, finish=True))
    assert counts[ann] == pytest.approx(10, abs=2)
    assert counts[bob] == pytest.approx(40, abs=2)


def test_who_comes_late_gets_its_share_and_not_the_whole_fleet(bench: Bench) -> None:
    old = _queue(bench, 90)
    _turns(bench, 40, finish=True)
    young = _queue(bench, 60)
    counts = Counter(_turns(bench, 40, finish=True))
    assert counts[old] == pytest.approx(20, abs=3)
    assert counts[young] == pytest.approx(20, abs=3)


def test_long_trials_do_not_crowd_out_short_ones(bench: Bench) -> None:
    short, long = _queue(bench, 90), _queue(bench, 90)
    for study, seconds in ((short, 10.0), (long, 90.0)):
        with bench.database.writing() as session:
            row = session.get_one(Study, study)
            row.device_seconds, row.attempts_ended = 10 * seconds, 10
    counts: Counter[str] = Counter()
    for _ in range(60):
        [lease] = _ask(bench)
        counts[lease.job.study_id] += 1
        _finish(bench, lease, 10.0 if lease.job.study_id == short else 90.0)
    assert counts[short] == pytest.approx(54, abs=4), "device time is what is shared"


def test_of_two_equal_studies_the_one_in_memory_goes_first_but_not_for_ever(bench: Bench) -> None:
    _queue(bench, 60), _queue(bench, 60)
    got: list[str] = []
    for _ in range(40):
        [lease] = _ask(bench, cached=got[-1:])
        got.append(lease.job.study_id)
        _finish(bench, lease)
    changes = sum(one != other for one, other in itertools.pairwise(got))
    assert changes < 30, "loading photos again for every trial helps nobody"
    assert all(count == pytest.approx(20, abs=3) for count in Counter(got).values())


def test_a_study_runs_no_more_trials_at_once_than_it_may(bench: Bench) -> None:
    _queue(bench, 8, max_running=3)
    first = _ask(bench, capacity=2)
    assert len(first) == 2
    assert len(_ask(bench, capacity=8)) == 1
    assert _ask(bench) == []
    bench.complete(first[0])
    assert len(_ask(bench, capacity=8)) == 1


def test_an_owner_runs_no_more_trials_at_once_than_its_quota(bench: Bench) -> None:
    _queue(bench, 8, owner="ann"), _queue(bench, 8, owner="ann")
    other = _queue(bench, 8, owner="bob")
    with bench.database.writing() as session:
        set_quota(session, "ann", Quota(max_running=3))
    got = Counter(lease.job.study_id for _ in range(6) for lease in _ask(bench, capacity=2))
    assert sum(count for study, count in got.items() if study != other) == 3
    assert got[other] == 8


def test_an_owner_without_device_hours_left_gets_nothing(bench: Bench) -> None:
    study = _queue(bench, 4, owner="ann")
    with bench.database.writing() as session:
        set_quota(session, "ann", Quota(gpu_hours=1.0))
    [lease] = _ask(bench)
    _set_back(bench, lease.job.uid, 3700.0)
    assert _ask(bench) == [], "attempts under way count"
    bench.complete(lease)
    assert _ask(bench) == []
    with bench.database.writing() as session:
        session.get_one(Owner, "ann").gpu_hours = 2.0
    assert [lease.job.study_id for lease in _ask(bench)] == [study]


def test_deleting_a_study_does_not_refill_its_owners_quota(bench: Bench) -> None:
    from service import studies

    study = _queue(bench, 2, owner="ann")
    with bench.database.writing() as session:
        set_quota(session, "ann", Quota(gpu_hours=1.0))
    [lease] = _ask(bench)
    _set_back(bench, lease.job.uid, 4000.0)
    bench.complete(lease)
    with bench.database.writing() as session:
        studies.delete(session, study)
    _queue(bench, 2, owner="ann")
    assert _ask(bench) == []


def test_a_worker_with_too_little_memory_gets_nothing(bench: Bench) -> None:
    bench.submit(memory_gb=10.0)
    assert _ask(bench) == []
    with bench.database.writing() as session:
        worker = session.get_one(Worker, bench.worker)
        worker.devices = [{"kind": "cuda", "name": "big", "memory": 24 * 10**9}]
    assert len(_ask(bench)) == 1


def test_running_out_of_memory_halves_how_many_train_together(bench: Bench) -> None:
    _queue(bench, 12)
    with bench.database.writing() as session:
        session.get_one(Worker, bench.worker).slots = 4
    together = _ask(bench, capacity=4)
    assert len(together) == 4
    for lease in together:
        bench.fail(lease, FailureCause.OUT_OF_MEMORY)
    again = _ask(bench, capacity=4)
    assert [lease.job.uid for lease in again] == [lease.job.uid for lease in together[:2]]
    assert [lease.job.attempt for lease in again] == [1, 1], "not the trials' fault"
    assert _ask(bench, capacity=2) == []
    roomy = bench.register("roomy", devices=[{"kind": "cuda", "name": "big", "memory": 10**10}])
    assert len(_ask(bench, worker=roomy, capacity=4)) == 4


def test_running_out_of_memory_alone_counts(bench: Bench) -> None:
    study = _queue(bench, 1)
    for _ in range(3):
        [lease] = _ask(bench)
        bench.fail(lease, FailureCause.OUT_OF_MEMORY)
        bench.no_waiting()
    [_, trial] = bench.trials(study)
    assert (trial.state, trial.attempts) == (TrialState.FAILED, 3)


def test_a_repeated_request_gets_its_first_leases_again(bench: Bench) -> None:
    _queue(bench, 6)
    first = _ask(bench, capacity=2, request="word")
    again = _ask(bench, capacity=2, request="word")
    assert [(one.id, one.token) for one in again] == [(one.id, one.token) for one in first]
    assert all(lease.expires_in > 20.0 for lease in again)
    other = _ask(bench, capacity=2, request="another")
    assert {lease.id for lease in other}.isdisjoint(lease.id for lease in first)
    stranger = bench.register("two")
    assert _ask(bench, worker=stranger, request="word")[0].id not in {one.id for one in first}


def test_a_repeat_that_comes_too_late_gets_what_is_left_of_its_leases(bench: Bench) -> None:
    _queue(bench, 2)
    [lease] = _ask(bench, request="word")
    bench.complete(lease)
    [late] = _ask(bench, request="word")
    assert (late.id, late.expires_in) == (lease.id, 0.0)


def test_another_token_does_not_speak_for_a_worker(bench: Bench) -> None:
    with bench.database.writing() as session:
        session.get_one(Worker, bench.worker).token_id = "t1"
    bench.submit()
    request = LeaseRequest(worker=bench.worker)
    stranger = Caller("t2", "bob", frozenset({Scope.WORKER, Scope.READ}))
    with pytest.raises(Forbidden, match="another token"), bench.database.writing() as session:
        dispatch.lease(session, request, lease_seconds=30.0, caller=stranger)


def test_a_worker_that_fails_what_others_train_is_quarantined(bench: Bench) -> None:
    study = _queue(bench, 12)
    good, bad = bench.register("good"), bench.register("bad")
    [lease] = _ask(bench, worker=good)
    bench.complete(lease)
    for _ in range(attempts.SUSPECT):
        [lease] = _ask(bench, worker=bad)
        bench.fail(lease, FailureCause.ERROR)
    assert _ask(bench, worker=bad) == []
    with bench.database.reading() as session:
        worker = session.get_one(Worker, bad)
    assert worker.state is WorkerState.QUARANTINED
    assert worker.reason.startswith("3 failures in a row")
    assert [lease.job.study_id for lease in _ask(bench, worker=good)] == [study]
    bench.register("bad")
    assert len(_ask(bench, worker=bad)) == 1, "a new start is a new chance"


def test_a_study_nobody_can_train_puts_no_worker_under_quarantine(bench: Bench) -> None:
    _queue(bench, 12)
    for _ in range(6):
        bench.no_waiting()
        [lease] = _ask(bench)
        bench.fail(lease, FailureCause.ERROR)
    with bench.database.reading() as session:
        assert session.get_one(Worker, bench.worker).state is WorkerState.ACTIVE


def _lose(bench: Bench, lease: Lease) -> None:
    bench.set_back(lease.job.uid, 60.0)
    with bench.database.writing() as session:
        assert attempts.lapse(
            session, lease.job.uid, vocabulary=bench.vocabulary, max_attempts=bench.attempts
        )


def test_a_trial_that_takes_worker_after_worker_down_is_put_aside(bench: Bench) -> None:
    study = _queue(bench, 1)
    bench.attempts = 10
    for name in ("one", "two", "three"):
        [lease] = _ask(bench, worker=bench.register(name))
        _lose(bench, lease)
    [_, trial] = bench.trials(study)
    assert trial.state is TrialState.FAILED
    assert trial.reason.startswith("quarantined: 3 workers in a row were lost with it")


def test_a_trial_that_gets_on_survives_any_number_of_dying_machines(bench: Bench) -> None:
    _queue(bench, 1)
    bench.attempts = 3
    for step in range(1, 9):
        [lease] = _ask(bench)
        bench.report(lease, 10 * step, checkpoint=bench.checkpoint(10 * step))
        _lose(bench, lease)
    [lease] = _ask(bench)
    assert (lease.job.resume is not None, lease.job.attempt) == (True, 1)


def test_a_budget_of_trials_is_not_overdrawn_by_points_of_ones_own(bench: Bench) -> None:
    study = bench.calibrated(budget={"trials": 2})
    request = EnqueueRequest(weights={"l1": 1.0})
    with bench.database.writing() as session:
        add_trial(session, study, request, bench.vocabulary)
    with pytest.raises(IllegalMove, match="budget of 2"), bench.database.writing() as session:
        add_trial(session, study, request, bench.vocabulary)


def test_a_spent_budget_of_device_hours_ends_what_trains(bench: Bench) -> None:
    from service.reaper import sweep

    study = _queue(bench, 4, budget={"trials": 500, "gpu_hours": 1.0})
    [done] = _ask(bench)
    bench.complete(done)
    [lease] = _ask(bench)
    _set_back(bench, lease.job.uid, 3700.0)
    assert _ask(bench) == [], "nothing new is begun on a budget that is spent"
    sweep(bench.database, bench.vocabulary, bench.settings)
    row = bench.study(study)
    assert row.state is StudyState.FINISHED
    assert (row.running, row.unfinished) == (0, 0)
    assert row.device_seconds == pytest.approx(3700.0, abs=5.0)
