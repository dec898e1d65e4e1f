"""What the rows say to Prometheus: right, and cheap however many trials there are."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, insert, select

from service.contract.trial import StudyState, TrialState
from service.contract.worker import WorkerState
from service.db import Database, now
from service.figures import Figures, Rows
from service.models import Study, Trial
from service.states import TRIAL_ENDS

if TYPE_CHECKING:
    from tests.service.conftest import Bench


def look(database: Database) -> Figures:
    return Rows(database).look()


def test_figures_follow_a_study_from_its_first_trial_to_its_last(bench: Bench) -> None:
    study = bench.submit()
    start = look(bench.database)
    assert (start.trials[TrialState.QUEUED], start.leases, start.running) == (1, 0, 0)
    assert start.workers[WorkerState.ACTIVE] == 1
    held = bench.lease()[0]
    leased = look(bench.database)
    assert (leased.trials[TrialState.LEASED], leased.leases, leased.running) == (1, 1, 1)
    bench.complete(held)
    bench.propose()
    assert look(bench.database).proposals_ahead > 0
    bench.run_through(study)
    over = look(bench.database)
    assert over.studies[StudyState.FINISHED] == 1
    assert (over.running, over.trials[TrialState.QUEUED], over.proposals_ahead) == (0, 0, 0)
    assert over.trials[TrialState.COMPLETE] == len(bench.trials(study))
    assert sum(over.trials.values()) == len(bench.trials(study)) == over.leases


def test_queue_age_is_that_of_the_oldest_trial_a_worker_could_have(bench: Bench) -> None:
    assert look(bench.database).queue_age == 0.0
    study = bench.submit()
    with bench.database.writing() as session:
        trial = session.get_one(Trial, bench.trials(study)[0].uid)
        trial.created -= 100.0
    assert 100 <= look(bench.database).queue_age < 160
    held = bench.lease()[0]
    assert look(bench.database).queue_age == 0.0
    bench.release(held)
    # It waits since it came back, not since it was thought of.
    assert look(bench.database).queue_age < 60
    with bench.database.writing() as session:
        session.get_one(Trial, held.job.uid).not_before = now(session) + 100.0
    assert look(bench.database).queue_age == 0.0


def test_paused_studies_wait_for_nobody(bench: Bench) -> None:
    study = bench.calibrated()
    bench.propose()
    with bench.database.writing() as session:
        session.get_one(Study, study).state = StudyState.PAUSED
    paused = look(bench.database)
    assert (paused.queue_age, paused.proposals_ahead) == (0.0, 0)
    assert paused.trials[TrialState.QUEUED] > 0


def test_a_deleted_study_leaves_the_figures(bench: Bench) -> None:
    rows = Rows(bench.database)
    study = bench.calibrated()
    assert rows.look().trials[TrialState.COMPLETE] == 1
    rows._looked = float("-inf")
    with bench.database.writing() as session:
        session.delete(session.get_one(Study, study))
    assert sum(rows.look().trials.values()) == 0


def test_several_scrapers_within_a_second_cost_one_look(bench: Bench) -> None:
    rows, sent = Rows(bench.database), []
    event.listen(bench.database.engine, "before_cursor_execute", lambda *_: sent.append(1))
    rows.look()
    once = len(sent)
    rows.look()
    assert 0 < len(sent) == once <= 8


def test_without_the_database_it_is_said_and_nothing_else(tmp_path: object) -> None:
    rows = Rows(Database(f"sqlite:///{tmp_path}/missing/srtune.db"))
    (up,) = rows.collect()
    assert (up.name, up.samples[0].value) == ("srtune_database_up", 0.0)


def many(bench: Bench, doublings: int) -> str:
    """A study that was searched through, its trials doubled so often."""
    study = bench.submit()
    bench.run_through(study)
    copied: dict[str, Any] = {column.name: column for column in Trial.__table__.columns}
    with bench.database.writing() as session:
        for turn in range(doublings):
            copied["uid"] = Trial.uid + f"x{turn}"
            copied["number"] = Trial.number + 1000 * 2**turn
            rows = select(*copied.values()).where(Trial.study_id == study)
            session.execute(insert(Trial).from_select(list(copied), rows))
        session.get_one(Study, study).revision += 1
    return study


@pytest.mark.slow
def test_a_scrape_is_cheap_with_a_hundred_thousand_trials(bench: Bench) -> None:
    many(bench, 14)
    rows = Rows(bench.database)
    begun = time.perf_counter()
    seen = rows.look()
    first = time.perf_counter() - begun
    assert sum(seen.trials[state] for state in TRIAL_ENDS) >= 100_000
    rows._looked = float("-inf")
    begun = time.perf_counter()
    rows.look()
    again = time.perf_counter() - begun
    assert first < 2.0
    assert again < 0.25


def test_counts_are_those_of_the_trials_themselves(bench: Bench) -> None:
    study = many(bench, 3)
    by_hand = Counter(trial.state for trial in bench.trials(study))
    counted = look(bench.database).trials
    assert by_hand[TrialState.COMPLETE] == 8 * 7
    assert {state: count for state, count in counted.items() if count} == dict(by_hand)
