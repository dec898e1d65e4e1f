"""Proposals depend on the study alone, not on when they are made."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import func, select

from service import studies
from service.contract.trial import (
    EnqueueRequest,
    FailureCause,
    Lease,
    StudyState,
    TrialKind,
    TrialState,
)
from service.db import Database
from service.models import Study, Trial
from service.proposer import Memories, propose
from service.sampler import SamplerProcess
from service.tuner import Observation
from service.tuner.mind import Mind, Proposal

Bench = Any


def _points(bench: Bench, study: str) -> list[tuple[int, dict[str, float]]]:
    return [(trial.number, trial.weights) for trial in bench.trials(study)]


def test_nothing_is_proposed_before_the_calibration(bench: Bench) -> None:
    study = bench.submit()
    bench.propose()
    assert [trial.kind for trial in bench.trials(study)] == [TrialKind.START]


def test_proposals_are_ready_ahead_of_leases_and_no_more(bench: Bench) -> None:
    study = bench.calibrated(search={"ahead": 2})
    bench.propose()
    assert [trial.number for trial in bench.trials(study)] == [0, 1, 2]
    bench.lease()
    bench.propose()
    bench.propose()
    assert [trial.number for trial in bench.trials(study)] == [0, 1, 2, 3]


def test_the_budget_is_never_exceeded(bench: Bench) -> None:
    study = bench.calibrated(budget={"trials": 4}, search={"ahead": 64})
    bench.propose()
    bench.run_through(study)
    kinds = [trial.kind for trial in bench.trials(study)]
    assert kinds == [TrialKind.START] + [TrialKind.SEARCH] * 4
    assert bench.study(study).state is StudyState.FINISHED


def test_proposals_are_points_of_the_simplex_with_weights_by_the_calibration(bench: Bench) -> None:
    study = bench.calibrated()
    bench.run_through(study)
    for trial in bench.trials(study)[1:]:
        assert sum(trial.shares.values()) == pytest.approx(1.0)
        for key, norm in {"l1": 2.0, "content": 40.0, "edge": 0.5}.items():
            assert trial.weights[key] * norm / 2.0 == pytest.approx(trial.shares[key])


def test_the_same_seed_proposes_the_same_trials(bench: Bench) -> None:
    one = bench.calibrated()
    bench.run_through(one)
    two = bench.calibrated()
    bench.run_through(two)
    other = bench.calibrated(search={"seed": 8})
    bench.run_through(other)
    assert _points(bench, one) == _points(bench, two)
    assert _points(bench, one)[2:] != _points(bench, other)[2:]


def test_a_restart_and_a_late_proposer_change_no_proposal(bench: Bench) -> None:
    steady = bench.calibrated()
    bench.run_through(steady)
    shaken = bench.calibrated()
    bench.propose()
    while leases := bench.lease() or _late(bench):
        bench.memories = Memories(bench.vocabulary)
        bench.complete(leases[0])
    assert _points(bench, shaken) == _points(bench, steady)


def _late(bench: Bench) -> list[Any]:
    """The proposer wakes up only when the queue has run dry."""
    bench.propose()
    return list(bench.lease())


def test_results_that_came_after_the_lease_ahead_are_not_seen(bench: Bench) -> None:
    """Two workers whose order of ends differs, after the same leases, propose the same."""
    found = []
    for late in (False, True):
        study = bench.calibrated(search={"ahead": 3, "startup": 1}, budget={"trials": 5})
        bench.propose()
        first, second = bench.lease()[0], bench.lease()[0]
        if not late:
            bench.propose()
        bench.complete(first)
        bench.complete(second)
        bench.propose()
        found.append(dict(_points(bench, study))[5])
        bench.memories = Memories(bench.vocabulary)
        with bench.database.writing() as session:
            studies.stop(session, study)
    assert found[0] == found[1]


def test_a_paused_study_gets_no_proposals(bench: Bench) -> None:
    study = bench.calibrated()
    with bench.database.writing() as session:
        studies.pause(session, study)
    bench.propose()
    assert len(bench.trials(study)) == 2
    with bench.database.writing() as session:
        studies.resume(session, study, bench.vocabulary)
    bench.propose()
    assert len(bench.trials(study)) == 3


def test_two_replicas_propose_each_number_once(bench: Bench) -> None:
    study = bench.calibrated(budget={"trials": 20}, search={"ahead": 64})
    other = Memories(bench.vocabulary)
    bench.propose()
    bench.memories = other
    bench.run_through(study)
    with bench.database.reading() as session:
        count = session.execute(
            select(func.count()).where(Trial.study_id == study, Trial.kind == TrialKind.SEARCH)
        ).scalar_one()
        assert session.get_one(Study, study).next_number == 21
    assert count == 20


def test_a_study_of_failures_ends(bench: Bench) -> None:
    study = bench.calibrated()
    bench.propose()
    while leases := bench.lease():
        bench.fail(leases[0], FailureCause.DIVERGED)
        bench.propose()
    ended = bench.study(study)
    assert ended.state is StudyState.FAILED
    assert "no trial was completed" in ended.reason
    states = [trial.state for trial in bench.trials(study)[1:]]
    assert states == [TrialState.DIVERGED] * 6


class Interrupted(Mind):
    """While it thinks for the first time, a person queues a point of his own."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench
        self.thought: dict[int, Any] = {}

    def propose(self, study: str, numbers: Sequence[int], clock: int) -> list[Proposal]:
        if not self.thought:
            request = EnqueueRequest(weights={"l1": 1.0, "edge": 1.0})
            with self._bench.database.writing() as session:
                studies.add_trial(session, study, request, self._bench.vocabulary)
        proposals = super().propose(study, numbers, clock)
        self.thought |= {one.number: one.coordinates for one in proposals}
        return proposals


def test_a_thought_for_a_number_somebody_took_is_void(bench: Bench) -> None:
    study = bench.calibrated(search={"ahead": 3})
    mind = Interrupted(bench)
    bench.memories = Memories(bench.vocabulary, mind)
    bench.propose()
    trials = bench.trials(study)
    assert [trial.origin for trial in trials[2:]] == ["user", "sampler"]
    assert trials[3].coordinates == mind.thought[3]


def _hurry(bench: Bench, study: str, trials: int) -> list[Lease]:
    """Many workers lease as many points of a person's own within a moment."""
    for number in range(16):
        bench.register(f"fast{number}")
    bench.propose()
    with bench.database.writing() as session:
        for _ in range(trials):
            request = EnqueueRequest(weights={"l1": 1.0, "edge": 1.0})
            studies.add_trial(session, study, request, bench.vocabulary)
    leases = bench.lease(capacity=64)
    bench.propose()
    return list(leases)


def _waiting(bench: Bench, study: str) -> list[Trial]:
    return [trial for trial in bench.trials(study) if trial.state is TrialState.QUEUED]


def test_where_trials_go_fast_the_queue_lasts_for_a_second(bench: Bench) -> None:
    study = bench.calibrated(budget={"trials": 200})
    leases = _hurry(bench, study, 40)
    waiting = _waiting(bench, study)
    assert 15 <= len(waiting) <= 25
    assert {trial.proposed_clock for trial in waiting} == {bench.study(study).clock}
    assert len({tuple(trial.weights.values()) for trial in waiting}) == len(waiting)
    for lease in leases[:4]:
        bench.complete(lease)
    bench.propose()
    assert [t.number for t in _waiting(bench, study)] == [t.number for t in waiting]


def test_a_deep_queue_keeps_to_the_budget(bench: Bench) -> None:
    study = bench.calibrated(budget={"trials": 50})
    _hurry(bench, study, 40)
    assert bench.study(study).searched == 50
    assert len(bench.trials(study)) == 51


def test_what_waits_too_long_is_thought_up_again_under_its_number(bench: Bench) -> None:
    study = bench.calibrated(budget={"trials": 200})
    leases = _hurry(bench, study, 40)
    before = _waiting(bench, study)
    [taken] = bench.lease()
    bench.memories = Memories(bench.vocabulary)  # it knows of no hurry
    for lease in leases[:9]:
        bench.complete(lease)
    bench.propose()
    after = _waiting(bench, study)
    clock = bench.study(study).clock
    assert [trial.number for trial in after] == [trial.number for trial in before[1:]]
    assert [trial.proposed_clock for trial in after[:2]] == [clock, clock]
    changed = [one.weights != other.weights for one, other in zip(before[1:], after, strict=True)]
    assert changed == [True, True] + [False] * (len(after) - 2)
    assert all(new.revision > old.revision for old, new in zip(before[1:], after[:2], strict=False))
    assert bench.trials(study)[taken.job.number].weights == taken.job.weights
    bench.memories = Memories(bench.vocabulary)
    bench.propose()
    assert [trial.weights for trial in _waiting(bench, study)] == [t.weights for t in after]


def test_what_was_tried_before_is_never_thought_up_again(bench: Bench) -> None:
    study = bench.calibrated(budget={"trials": 200})
    leases = _hurry(bench, study, 40)
    [taken] = bench.lease()
    bench.release(taken)
    bench.memories = Memories(bench.vocabulary)
    for lease in leases[:9]:
        bench.complete(lease)
    bench.propose()
    assert bench.trials(study)[taken.job.number].weights == taken.job.weights


def test_a_sampler_in_its_own_process_that_dies_changes_no_proposal(bench: Bench) -> None:
    steady = bench.calibrated(budget={"trials": 10})
    bench.run_through(steady)
    sampler = SamplerProcess()
    bench.memories = Memories(bench.vocabulary, sampler)
    shaken = bench.calibrated(budget={"trials": 10})
    with closing(sampler):
        bench.propose()
        while leases := bench.lease() or _late(bench):
            if leases[0].job.number == 5:
                assert sampler.pid is not None
                os.kill(sampler.pid, signal.SIGKILL)
            bench.complete(leases[0])
            bench.propose()
            bench.propose()
    assert _points(bench, shaken) == _points(bench, steady)


def test_replicas_that_propose_at_once_leave_no_gap_and_repeat_nothing(
    bench: Bench, database_url: str
) -> None:
    study = bench.calibrated(budget={"trials": 60}, search={"ahead": 8})
    ended = threading.Event()
    failures: list[BaseException] = []

    def replica() -> None:
        database, memories = Database(database_url), Memories(bench.vocabulary)
        try:
            while not ended.is_set():
                propose(database, bench.vocabulary, memories)
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            database.close()

    # On SQLite there is one service, and in it one proposer.
    replicas = [threading.Thread(target=replica) for _ in range(1 if bench.database.sqlite else 3)]
    for thread in replicas:
        thread.start()
    try:
        deadline = time.monotonic() + 60
        while bench.study(study).state is not StudyState.FINISHED:
            assert time.monotonic() < deadline
            for lease in bench.lease(capacity=3):
                bench.complete(lease)
    finally:
        ended.set()
        for thread in replicas:
            thread.join()
    assert not failures
    trials = bench.trials(study)
    assert [trial.number for trial in trials] == list(range(61))
    points = [tuple(trial.weights.values()) for trial in trials[2:]]
    assert len(set(points)) == len(points) == 59
    assert bench.study(study).searched == 60


class Listening(Mind):
    """Remembers what it was told last of every trial."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[int, str] = {}

    def tell(self, study: str, observations: Sequence[Observation]) -> None:
        self.heard |= {seen.number: seen.state for seen in observations}
        super().tell(study, observations)


def test_a_diverged_trial_teaches_as_a_pruned_one_and_a_failed_one_nothing(bench: Bench) -> None:
    study = bench.calibrated(search={"ahead": 6}, budget={"trials": 20})
    mind = Listening()
    bench.memories = Memories(bench.vocabulary, mind)
    bench.propose()
    complete, diverged, failed, _ = bench.lease(capacity=4)
    bench.complete(complete)
    bench.fail(diverged, FailureCause.DIVERGED)
    bench.fail(failed, FailureCause.DATA)
    bench.propose()
    states = [trial.state for trial in bench.trials(study)[1:5]]
    assert states == [
        TrialState.COMPLETE, TrialState.DIVERGED, TrialState.FAILED, TrialState.LEASED,
    ]  # fmt: skip
    assert [mind.heard[number] for number in range(1, 6)] == [
        "complete", "pruned", "failed", "running", "running",
    ]  # fmt: skip
