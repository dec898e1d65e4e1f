"""Time's work: lapsed leases, late studies, litter."""

from __future__ import annotations

import os
import time
from typing import Any

from sqlalchemy import select

from service.contract.trial import StudyState, TrialState
from service.db import now
from service.models import Idempotency, Study
from service.reaper import clear_litter, sweep

Bench = Any


def _sweep(bench: Bench) -> list[str]:
    return sweep(bench.database, bench.vocabulary, bench.settings)


def test_a_lapsed_lease_goes_back_to_the_queue_and_counts(bench: Bench) -> None:
    bench.calibrated()
    [lease] = bench.lease()
    assert _sweep(bench) == []
    bench.set_back(lease.job.uid, 60.0)
    assert _sweep(bench) == [lease.job.uid]
    assert _sweep(bench) == []
    trial = bench.trials(lease.job.study_id)[1]
    assert (trial.state, trial.attempts, trial.lease_id) == (TrialState.QUEUED, 1, None)
    assert "worker one was not heard of" in trial.reason


def test_a_trial_that_kills_its_workers_fails_after_the_limit(bench: Bench) -> None:
    study = bench.calibrated()
    for _ in range(3):
        [lease] = bench.lease()
        bench.set_back(lease.job.uid, 60.0)
        _sweep(bench)
    trial = bench.trials(study)[1]
    assert (trial.state, trial.attempts) == (TrialState.FAILED, 3)
    assert bench.study(study).state is StudyState.ACTIVE


def test_a_study_ends_by_the_clock_even_when_no_worker_speaks(bench: Bench) -> None:
    study = bench.calibrated(budget={"trials": 6, "wall_hours": 1.0})
    with bench.database.writing() as session:
        row = session.get_one(Study, study)
        assert row.started is not None
        row.started -= 3601.0
    _sweep(bench)
    ended = bench.study(study)
    assert (ended.state, "no trial was completed" in ended.reason) == (StudyState.FAILED, True)


def test_overtaken_checkpoints_are_cleared_and_the_newest_stays(bench: Bench) -> None:
    bench.calibrated()
    [lease] = bench.lease()
    first, second = bench.checkpoint(25, b"first"), bench.checkpoint(50, b"second")
    bench.report(lease, 25, checkpoint=first)
    bench.report(lease, 50, checkpoint=second)
    assert clear_litter(bench.database, bench.blobs) == 0
    day_ago = time.time() - 86_400.0
    for checkpoint in (first, second):
        os.utime(bench.blobs.path(checkpoint.blob.sha256), (day_ago, day_ago))
    assert clear_litter(bench.database, bench.blobs) == 1
    assert bench.blobs.has(second.blob.sha256)
    assert not bench.blobs.has(first.blob.sha256)


def test_the_answer_to_a_repeated_request_is_kept_for_a_day(bench: Bench) -> None:
    with bench.database.writing() as session:
        for key, age in (("fresh", 3600.0), ("stale", 90_000.0)):
            born = now(session) - age
            session.add(Idempotency(key=key, body_sha256="", answer={}, created=born))
    clear_litter(bench.database, bench.blobs)
    with bench.database.reading() as session:
        assert session.scalars(select(Idempotency.key)).all() == ["fresh"]
