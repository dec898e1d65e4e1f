"""Proposals depend on the study alone, not on when they are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import func, select

from service import studies
from service.contract.trial import EnqueueRequest, FailureCause, StudyState, TrialKind, TrialState
from service.models import Study, Trial
from service.proposer import Memories
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
        super().__init__(bench.vocabulary)
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
