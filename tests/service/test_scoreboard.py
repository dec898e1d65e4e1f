"""Decisions read from the board are those read from all rows, and nothing rolled back stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event, select, update

from service import scoreboard, scores
from service.contract.trial import Action, Lease, TrialState
from service.models import Report as ReportRow
from service.models import Study, Trial
from service.states import locked, touch
from service.tuner import decide, transfer
from service.views import study_view

Bench = Any


@contextmanager
def _statements(bench: Bench) -> Iterator[list[str]]:
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        said.append(statement)

    event.listen(bench.database.engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(bench.database.engine, "before_cursor_execute", note)


def _noisy(rng: np.random.Generator, rank: float) -> dict[str, float]:
    noise = rng.normal(0, 0.3, 2)
    return {"psnr_y": 30 + rank + float(noise[0]), "mdsi": 0.5 - rank / 10 - float(noise[1]) / 10}


def _all_rows(bench: Bench, study: str) -> tuple[dict[int, dict[int, Any]], dict[int, Any]]:
    with bench.database.reading() as session:
        rungs: dict[int, dict[int, Any]] = {}
        for number, step, metrics in session.execute(
            select(Trial.number, ReportRow.step, ReportRow.metrics).join(
                ReportRow, ReportRow.trial_uid == Trial.uid
            )
        ):
            rungs.setdefault(number, {})[step] = metrics
        wanted = select(Trial).where(Trial.number > 0, Trial.state == TrialState.COMPLETE)
        finals = {trial.number: trial.metrics for trial in session.scalars(wanted)}
    return rungs, finals


def test_every_verdict_is_the_one_all_rows_would_give(bench: Bench) -> None:
    study = bench.calibrated(
        budget={"trials": 26},
        search={"ahead": 4},
        pruning={"trials": 4, "transfer": 0.5, "after": 0.25, "keep": 0.6},
    )
    rng = np.random.default_rng(3)
    bench.propose()
    verdicts: list[Action] = []
    while leases := bench.lease(capacity=3):
        for lease in leases:
            rank = float(rng.normal())
            for step in (25, 50, 75):
                metrics = _noisy(rng, rank)
                action = bench.report(lease, step, metrics=metrics).action
                rungs, finals = _all_rows(bench, study)
                expected = decide(
                    bench.study(study).parsed(),
                    bench.vocabulary,
                    number=lease.job.number,
                    step=step,
                    rungs=rungs,
                    finals=finals,
                )
                prunes = expected.prune and lease.job.origin == "sampler"
                assert action is (Action.PRUNE if prunes else Action.CONTINUE), expected.reason
                verdicts.append(action)
                if action is Action.PRUNE:
                    break
            else:
                bench.complete(lease, metrics=_noisy(rng, rank))
        bench.propose()
    assert {Action.PRUNE, Action.CONTINUE} == set(verdicts)
    rungs, finals = _all_rows(bench, study)
    with bench.database.reading() as session:
        row = session.get_one(Study, study)
        measured = scores.transfer(session, row)
    steps = [25, 50, 75]
    assert measured == transfer(rungs, finals, ["psnr_y", "mdsi"], steps=steps)


def _five_trials(bench: Bench) -> tuple[str, Lease]:
    study = bench.calibrated(budget={"trials": 12}, pruning={"trials": 4, "keep": 0.5})
    bench.propose()
    for rank in range(5):
        [lease] = bench.lease()
        metrics = {"psnr_y": 30.0 + rank, "mdsi": 0.3 - rank / 100}
        for step in (25, 50, 75):
            bench.report(lease, step, metrics=metrics)
        bench.complete(lease, metrics=metrics)
        bench.propose()
    return study, bench.lease()[0]


class Interruption(Exception):
    """The process is killed, as it were."""


def _reported_and_killed(bench: Bench, study: str, lease: Lease, metrics: dict[str, float]) -> None:
    with bench.database.writing() as session:
        row = locked(session, study)
        touch(row)
        report = ReportRow(
            trial_uid=lease.job.uid, step=50, study_id=study, revision=row.revision, token=1,
            metrics=metrics, verdict="continue", at=0.0,
        )  # fmt: skip
        session.add(report)
        board = scoreboard.board_of(session, row)
        assert lease.job.number in board.rungs[50]
        raise Interruption


@pytest.mark.parametrize("repeat", [False, True])
def test_what_was_rolled_back_counts_for_nothing(bench: Bench, repeat: bool) -> None:
    study, lease = _five_trials(bench)
    best = {"psnr_y": 99.0, "mdsi": 0.01}
    with pytest.raises(Interruption):
        _reported_and_killed(bench, study, lease, best)
    with bench.database.reading() as session:
        board = scoreboard.board_of(session, session.get_one(Study, study))
    assert lease.job.number not in board.rungs[50]
    if repeat:  # the same revision again, with another score
        bench.report(lease, 50, metrics={"psnr_y": 34.5, "mdsi": 0.2})
        with bench.database.reading() as session:
            board = scoreboard.board_of(session, session.get_one(Study, study))
        assert board.rungs[50][lease.job.number] == (34.5, 0.2)


def test_a_board_keeps_the_newest_trials_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoreboard, "WINDOW", 3)
    study, _ = _five_trials(bench)
    with bench.database.reading() as session:
        row = session.get_one(Study, study)
        board = scoreboard.board_of(session, row)
        fresh = scoreboard.Board(study, board.objectives, board.steps)
        scoreboard._read(session, row, fresh)
    for one in (board, fresh):
        assert list(one.finals) == [3, 4, 5]
        assert [list(found) for found in one.rungs.values()] == [[3, 4, 5]] * 3


def test_where_no_score_can_change_the_verdict_none_is_read(bench: Bench) -> None:
    unpruned = bench.calibrated(pruning={"method": "none"})
    bench.propose()
    lease = bench.lease()[0]
    metrics = {"psnr_y": 1.0, "mdsi": 1.0}
    with _statements(bench) as said, bench.database.reading() as session:
        row = session.get_one(Study, unpruned)
        before = len(said)
        options: Any = {"number": lease.job.number, "step": 50, "metrics": metrics}
        assert not scores.decision(session, row, bench.vocabulary, **options).prune
        assert len(said) == before


def test_a_study_is_shown_without_reading_its_reports_again(bench: Bench) -> None:
    study, lease = _five_trials(bench)
    with bench.database.reading() as session:
        first = study_view(session, session.get_one(Study, study))
    with _statements(bench) as said, bench.database.reading() as session:
        again = study_view(session, session.get_one(Study, study))
    assert again.transfer == first.transfer
    assert not [one for one in said if "report" in one or "group by" in one.lower()]
    bench.report(lease, 25)
    with _statements(bench) as said, bench.database.reading() as session:
        later = study_view(session, session.get_one(Study, study))
    assert [one for one in said if "report" in one]
    assert later.transfer == first.transfer  # the trial has no end yet
    assert later.owner == "local"


def test_device_time_is_what_attempts_took_and_take(bench: Bench) -> None:
    study, lease = _five_trials(bench)
    with bench.database.writing() as session:
        session.execute(update(Study).where(Study.id == study).values(device_seconds=100.0))
    with bench.database.reading() as session:
        row = session.get_one(Study, study)
        held = scores.device_seconds(session, row, at=2e9)
        started = bench.trials(study)[lease.job.number]
        assert started.state is TrialState.LEASED
        assert held > 100.0
    bench.complete(lease)
    with bench.database.reading() as session:
        row = session.get_one(Study, study)
        assert scores.device_seconds(session, row, at=2e9) == row.device_seconds < 2000.0
