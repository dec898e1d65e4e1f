"""A study from submission to its end."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from service import once, studies, trials
from service.contract.access import LOCAL, OPERATOR
from service.contract.errors import (
    IllegalMove,
    InvalidRequest,
    InvalidStudy,
    KeyReused,
    LeaseLost,
    StudyNotFound,
)
from service.contract.trial import (
    Action,
    EnqueueRequest,
    FailureCause,
    Heartbeat,
    StudyState,
    TrialKind,
    TrialState,
)
from service.models import Attempt, Report, Study, Trial
from service.results import best

Bench = Any


def test_a_study_starts_active_with_its_start_job(bench: Bench) -> None:
    study = bench.submit()
    [start] = bench.trials(study)
    assert bench.study(study).state is StudyState.ACTIVE
    assert (start.number, start.kind, start.state) == (0, TrialKind.START, TrialState.QUEUED)


def test_an_invalid_study_is_refused_with_every_problem(bench: Bench) -> None:
    raw = copy.deepcopy(bench.definition)
    raw["losses"][0]["loss"] = "l3"
    raw["budget"] = {"trials": 0}
    with pytest.raises(InvalidStudy) as error, bench.database.writing() as session:
        studies.create(session, raw, bench.vocabulary)
    assert {problem.path for problem in error.value.problems} >= {"losses[0].loss", "budget.trials"}
    assert {problem.path for problem in studies.problems(raw, bench.vocabulary)} == {
        problem.path for problem in error.value.problems
    }
    with bench.database.reading() as session:
        assert session.scalars(select(Study)).all() == []


def test_a_key_remembers_its_answer_and_refuses_another_body(bench: Bench) -> None:
    key = once.Key("k1", LOCAL, "POST", "/studies", b"body")
    with bench.database.writing() as session:
        assert once.remembered(session, key) is None
        once.remember(session, key, {"id": "s1"})
    with bench.database.writing() as session:
        assert once.remembered(session, key) == once.Remembered({"id": "s1"})
        with pytest.raises(KeyReused):
            once.remembered(session, replace(key, body=b"other body"))
        others: list[dict[str, Any]] = [
            {"method": "DELETE"},
            {"path": "/tokens"},
            {"caller": OPERATOR},
        ]
        for other in others:
            assert once.remembered(session, replace(key, **other)) is None


def test_a_name_means_the_newest_study_of_that_name(bench: Bench) -> None:
    bench.submit()
    newest = bench.submit()
    assert bench.study("small").id == newest
    with pytest.raises(StudyNotFound, match="'large'"):
        bench.study("large")


def test_pages_list_every_study_once_newest_first(bench: Bench) -> None:
    submitted = [bench.submit() for _ in range(5)]
    listed: list[str] = []
    cursor = None
    while True:
        with bench.database.reading() as session:
            found, cursor = studies.page(session, state=None, cursor=cursor, limit=2)
        listed += [study.id for study in found]
        if cursor is None:
            break
    assert sorted(listed) == sorted(submitted)
    created = [bench.study(ref).created for ref in listed]
    assert created == sorted(created, reverse=True)
    with bench.database.reading() as session, pytest.raises(InvalidRequest, match="cursor"):
        studies.page(session, state=None, cursor="nonsense", limit=2)


def test_a_paused_study_leases_nothing_and_lets_running_trials_end(bench: Bench) -> None:
    study = bench.calibrated()
    bench.propose()
    [running] = bench.lease()
    for _ in range(2):
        with bench.database.writing() as session:
            assert studies.pause(session, study).state is StudyState.PAUSED
    assert bench.lease() == []
    bench.complete(running)
    for _ in range(2):
        with bench.database.writing() as session:
            assert studies.resume(session, study, bench.vocabulary).state is StudyState.ACTIVE
    assert bench.lease()[0].job.number == 2


def test_a_start_that_ends_during_a_pause_is_not_lost(bench: Bench) -> None:
    study = bench.submit()
    [start] = bench.lease()
    with bench.database.writing() as session:
        studies.pause(session, study)
    bench.complete(start)
    assert bench.study(study).calibration is not None
    with bench.database.writing() as session:
        studies.resume(session, study, bench.vocabulary)
    assert bench.lease()[0].job.origin.startswith("baseline")


def test_stopping_cancels_what_waits_and_what_trains(bench: Bench) -> None:
    study = bench.calibrated()
    bench.propose()
    [lease] = bench.lease()
    for _ in range(2):
        with bench.database.writing() as session:
            assert studies.stop(session, study).state is StudyState.STOPPED
    assert {trial.state for trial in bench.trials(study)[1:]} == {TrialState.CANCELLED}
    with bench.database.writing() as session:
        verdict = trials.heartbeat(
            session, lease.id, Heartbeat(token=lease.token, step=1), lease_seconds=30.0
        )
    assert verdict.action is Action.STOP
    assert bench.report(lease, 25).action is Action.STOP
    with pytest.raises(LeaseLost, match="cancelled"):
        bench.complete(lease)
    with pytest.raises(IllegalMove), bench.database.writing() as session:
        studies.resume(session, study, bench.vocabulary)


def test_deleting_leaves_no_row_and_names_the_objects_nobody_needs(bench: Bench) -> None:
    kept = bench.calibrated(priority=-1)
    study = bench.calibrated()
    [lease] = bench.lease()
    assert lease.job.study_id == study
    own = bench.checkpoint(25, b"its own")
    bench.report(lease, 25, checkpoint=own)
    with bench.database.writing() as session:
        orphans = studies.delete(session, study)
    # The shared start has the same bytes in both studies, so the other one still needs it.
    assert orphans == {own.blob.sha256}
    with bench.database.reading() as session:
        assert list(session.scalars(select(Study.id))) == [kept]
        assert set(session.scalars(select(Trial.study_id))) == {kept}
        assert session.execute(select(func.count()).select_from(Report)).scalar_one() == 0
        uids = set(session.scalars(select(Trial.uid)))
        assert set(session.scalars(select(Attempt.trial_uid))) <= uids
    with pytest.raises(LeaseLost):
        bench.complete(lease)


def test_recipes_are_tried_first_with_notes_on_what_differs(bench: Bench) -> None:
    study = bench.calibrated(search={"recipes": ["pixel", "paper"]})
    [_, baseline, paper] = bench.trials(study)
    assert baseline.origin.startswith("baseline")
    assert (paper.origin, paper.weights) == (
        "recipe:paper", {"l1": 0.01, "content": 1.0, "edge": 0.0},
    )  # fmt: skip
    assert paper.shares["content"] == pytest.approx(40.0 / 40.02)


def test_a_failed_start_fails_the_study_with_its_sentence(bench: Bench) -> None:
    study = bench.submit()
    bench.fail(bench.lease()[0], FailureCause.DATA)
    assert bench.study(study).state is StudyState.FAILED
    assert bench.study(study).reason == "the start job failed: data: it broke"


def test_a_calibration_that_cannot_be_used_fails_the_study_with_a_sentence(bench: Bench) -> None:
    study = bench.submit()
    [start] = bench.lease()
    result = bench.result(start)
    dead = result.calibration.model_copy(update={"norms": {"l1": 1.0, "content": 0.0, "edge": 1.0}})
    bench.complete(start, calibration=dead)
    assert bench.study(study).state is StudyState.FAILED
    assert "content" in bench.study(study).reason


def test_a_persons_own_point_is_queued_and_counts(bench: Bench) -> None:
    study = bench.calibrated(budget={"trials": 2})
    with bench.database.writing() as session:
        request = EnqueueRequest(shares={"l1": 0.5, "content": 0.5, "edge": 0.0}, note="mine")
        trial = studies.add_trial(session, study, request, bench.vocabulary)
    assert (trial.origin, trial.note, trial.number) == ("user", "mine", 2)
    assert trial.weights["content"] == pytest.approx(0.5 * 2.0 / 40.0)
    bench.run_through(study)
    assert len(bench.trials(study)) == 3


def test_a_point_of_ones_own_needs_the_calibration_and_one_currency(bench: Bench) -> None:
    study = bench.submit()
    request = EnqueueRequest(weights={"l1": 1.0})
    with pytest.raises(IllegalMove, match="not calibrated"), bench.database.writing() as session:
        studies.add_trial(session, study, request, bench.vocabulary)
    with pytest.raises(InvalidRequest, match="either"), bench.database.writing() as session:
        studies.add_trial(session, study, EnqueueRequest(), bench.vocabulary)


def test_the_best_and_the_baselines_are_confirmed_with_other_seeds(bench: Bench) -> None:
    study = bench.calibrated(confirm={"candidates": 2, "seeds": 2})
    bench.propose()
    seen = set()
    while leases := bench.lease():
        seen.add(bench.study(study).state)
        bench.complete(leases[0])
        bench.propose()
    assert seen == {StudyState.ACTIVE, StudyState.CONFIRMING}
    confirms = [trial for trial in bench.trials(study) if trial.kind is TrialKind.CONFIRM]
    by_origin: dict[str, set[int]] = {}
    for trial in confirms:
        by_origin.setdefault(trial.origin, set()).add(trial.seed)
        original = bench.trials(study)[int(trial.origin.removeprefix("confirm:"))]
        assert trial.weights == original.weights
    assert "confirm:1" in by_origin
    assert set(map(frozenset, by_origin.values())) == {frozenset({1, 2})}
    assert 2 <= len(by_origin) <= 3
    assert bench.study(study).state is StudyState.FINISHED


def test_the_best_tells_mean_and_deviation_over_the_seeds(bench: Bench) -> None:
    study = bench.calibrated(confirm={"candidates": 1, "seeds": 2}, budget={"trials": 1})
    bench.propose()
    for psnr in (30.0, 31.0, 32.0):  # the baseline, and its two repeats
        [lease] = bench.lease()
        bench.complete(lease, metrics={"psnr_y": psnr, "mdsi": 0.25})
    with bench.database.reading() as session:
        found = best(session, session.get_one(Study, study), bench.vocabulary, None)
    [repeats] = found.repeats
    assert (repeats.number, repeats.origin, repeats.seeds) == (1, "baseline", 3)
    assert repeats.mean == {"psnr_y": 31.0, "mdsi": 0.25}
    assert repeats.deviation == {"psnr_y": 1.0, "mdsi": 0.0}
    assert found.trial.metrics["psnr_y"] == 30.0  # repeats are no candidates of their own


def test_a_spent_wall_clock_ends_the_search_when_nothing_is_open(bench: Bench) -> None:
    study = bench.calibrated(budget={"trials": 6, "wall_hours": 1.0})
    bench.propose()
    [lease] = bench.lease()
    with bench.database.writing() as session:
        row = session.get_one(Study, study)
        assert row.started is not None
        row.started -= 3601.0
    bench.propose()
    bench.complete(lease)
    states = [trial.state for trial in bench.trials(study)]
    assert states == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.CANCELLED]
    assert bench.study(study).state is StudyState.FINISHED
    assert "1 hours" in bench.study(study).reason


def test_spent_device_hours_end_the_search(bench: Bench) -> None:
    study = bench.calibrated(budget={"trials": 6, "gpu_hours": 2.0})
    [lease] = bench.lease()
    with bench.database.writing() as session:
        session.get_one(Attempt, (lease.job.uid, lease.token)).started -= 7300.0
    bench.complete(lease)
    bench.propose()
    assert bench.study(study).state is StudyState.FINISHED
    assert len(bench.trials(study)) == 2


def test_an_empty_queue_is_no_end_while_there_is_budget(bench: Bench) -> None:
    study = bench.calibrated(search={"recipes": []})
    assert bench.lease() == []
    assert bench.study(study).state is StudyState.ACTIVE
    bench.run_through(study)
    assert [trial.origin for trial in bench.trials(study)[1:]] == ["sampler"] * 6
    assert bench.study(study).state is StudyState.FINISHED
