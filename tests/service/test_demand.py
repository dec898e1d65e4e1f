"""How deep the queue of proposals is, by how fast trials are taken."""

from __future__ import annotations

import pytest

from service.demand import DEEPEST, Demand, Slots


def _steady(per_second: float, seconds: float) -> Demand:
    demand = Demand()
    for tenth in range(int(10 * seconds) + 1):
        demand.note(int(tenth * per_second / 10), at=100.0 + tenth / 10)
    return demand


def _depth(demand: Demand, *, live: int = 16, idle: int = 0, waiting: int = 1) -> int:
    return demand.depth(2, waiting=waiting, slots=lambda: Slots(live, idle))


def test_nothing_seen_is_no_demand() -> None:
    assert _depth(Demand()) == 2


def test_slow_trials_need_no_more_than_what_the_study_says() -> None:
    assert _depth(_steady(0.5, 10.0)) == 2


def test_fast_trials_are_kept_ready_for_a_second() -> None:
    assert _depth(_steady(100, 10.0)) == pytest.approx(100, abs=10)


def test_the_queue_has_a_bottom() -> None:
    assert _depth(_steady(10_000, 3.0)) == DEEPEST


def test_one_fast_worker_changes_nothing() -> None:
    assert _depth(_steady(100, 10.0), live=1) == 2
    assert _depth(Demand(), live=2, idle=2, waiting=0) == 2


def test_an_idle_fleet_before_an_empty_queue_gets_a_trial_each() -> None:
    assert _depth(Demand(), idle=14, waiting=0) == 14
    assert _depth(Demand(), idle=14, waiting=1) == 2
    assert _depth(Demand(), idle=1, waiting=0) == 2


def test_a_burst_is_forgotten_after_two_seconds() -> None:
    demand = _steady(100, 1.0)
    assert _depth(demand) > 40
    demand.note(100, at=104.0)
    assert _depth(demand) == 2


def test_slots_are_not_counted_where_nobody_hurries() -> None:
    def unasked() -> Slots:
        raise AssertionError

    assert _steady(1, 5.0).depth(2, waiting=1, slots=unasked) == 2
