"""Leases, fencing, and exactly one result."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import select

from service import attempts, trials
from service.contract.errors import IllegalMove, InvalidRequest, LeaseLost, WorkerNotFound
from service.contract.trial import (
    Action,
    Blob,
    Checkpoint,
    FailureCause,
    Heartbeat,
    Lease,
    TrialKind,
    TrialState,
    Verdict,
)
from service.models import Attempt, Report
from service.models import Trial as TrialRow

Bench = Any  # of conftest, which cannot be imported


def _beat(bench: Bench, lease: Lease, *, step: int = 5) -> Verdict:
    with bench.database.writing() as session:
        beat = Heartbeat(token=lease.token, step=step, steps_per_second=2.0)
        return trials.heartbeat(session, lease.id, beat, lease_seconds=30.0)


def _lapse(bench: Bench, lease: Lease) -> bool:
    bench.set_back(lease.job.uid, 60.0)
    with bench.database.writing() as session:
        return attempts.lapse(session, lease.job.uid, vocabulary=bench.vocabulary, max_attempts=3)


def _trial(bench: Bench, lease: Lease) -> TrialRow:
    with bench.database.reading() as session:
        trial: TrialRow = session.get_one(TrialRow, lease.job.uid)
    return trial


def _outcomes(bench: Bench, lease: Lease) -> list[str]:
    with bench.database.reading() as session:
        rows = select(Attempt.outcome).where(Attempt.trial_uid == lease.job.uid)
        return list(session.scalars(rows.order_by(Attempt.token)))


def test_the_start_job_goes_first_and_alone(bench: Bench) -> None:
    bench.submit()
    [start] = bench.lease(8)
    assert (start.job.kind, start.job.number, start.job.weights) == (TrialKind.START, 0, {})
    assert bench.lease(8) == []
    bench.complete(start)
    [baseline] = bench.lease(8)
    assert baseline.job.origin.startswith("baseline")
    assert baseline.job.weights == {"l1": 1.0, "content": 0.0, "edge": 0.0}
    assert baseline.job.start == bench.store(b"shared start")


def test_a_start_without_calibration_is_refused(bench: Bench) -> None:
    bench.submit()
    [start] = bench.lease()
    with pytest.raises(InvalidRequest, match="both `start` and `calibration`"):
        bench.complete(start, calibration=None)
    assert _trial(bench, start).state is TrialState.LEASED


def test_a_result_without_an_objective_is_refused(bench: Bench) -> None:
    bench.calibrated()
    [lease] = bench.lease()
    with pytest.raises(InvalidRequest, match="lack the objectives mdsi"):
        bench.complete(lease, metrics={"psnr_y": 30.0})


def test_a_repeated_result_is_recorded_once(bench: Bench) -> None:
    bench.calibrated()
    [lease] = bench.lease()
    bench.complete(lease)
    first = _trial(bench, lease)
    bench.complete(lease)
    again = _trial(bench, lease)
    assert (again.metrics, again.revision) == (first.metrics, first.revision)
    assert again.state is TrialState.COMPLETE


def test_a_second_and_different_result_is_refused(bench: Bench) -> None:
    bench.calibrated()
    [lease] = bench.lease()
    bench.complete(lease)
    first = _trial(bench, lease)
    with pytest.raises(IllegalMove, match="has its result already"):
        bench.complete(lease, metrics={"psnr_y": 99.0, "mdsi": 0.0})
    assert _trial(bench, lease).metrics == first.metrics


def test_a_fenced_worker_changes_nothing(bench: Bench) -> None:
    bench.calibrated()
    [old] = bench.lease()
    bench.report(old, 25)
    assert _lapse(bench, old)
    [new] = bench.lease(worker=bench.register("two"))
    assert (new.job.uid, new.token) == (old.job.uid, old.token + 1)
    bench.report(new, 50)
    before = _trial(bench, new)
    for write in (
        lambda: bench.complete(old),
        lambda: bench.report(old, 25),
        lambda: bench.report(old, 50),
        lambda: bench.report(old, 75),
        lambda: bench.fail(old),
        lambda: bench.release(old),
        lambda: _beat(bench, old),
        lambda: bench.complete(new.model_copy(update={"token": old.token})),
        lambda: bench.complete(old.model_copy(update={"token": new.token})),
        lambda: bench.complete(old.model_copy(update={"id": "nonsense"})),
    ):
        with pytest.raises(LeaseLost):
            write()
    after = _trial(bench, new)
    assert (after.revision, after.expires, after.lease_id) == (
        before.revision, before.expires, new.id,
    )  # fmt: skip
    bench.complete(new)
    assert _outcomes(bench, new) == ["lapsed", "complete"]


def test_a_repeated_report_gets_the_first_verdict_and_keeps_the_first_scores(bench: Bench) -> None:
    bench.calibrated()
    [lease] = bench.lease()
    first = bench.report(lease, 25, metrics={"psnr_y": 20.0, "mdsi": 0.3})
    assert bench.report(lease, 25, metrics={"psnr_y": 10.0, "mdsi": 0.9}) == first
    with bench.database.reading() as session:
        [row] = session.scalars(select(Report))
    assert (row.step, row.metrics) == (25, {"psnr_y": 20.0, "mdsi": 0.3})


def test_a_resume_point_moves_with_the_report_and_waits_for_the_next_attempt(bench: Bench) -> None:
    bench.calibrated()
    [lease] = bench.lease()
    checkpoint = bench.checkpoint(25)
    bench.report(lease, 25, checkpoint=checkpoint)
    _lapse(bench, lease)
    [again] = bench.lease()
    # Progress was made, so the attempt is not counted against the trial.
    assert (again.job.resume, again.job.attempt) == (checkpoint, 1)


def test_a_report_with_a_checkpoint_nobody_stored_is_refused(bench: Bench) -> None:
    bench.calibrated()
    [lease] = bench.lease()
    missing = Checkpoint(blob=Blob(sha256="0" * 64, size=1), step=25)
    with pytest.raises(InvalidRequest, match="PUT /blobs/"):
        bench.report(lease, 25, checkpoint=missing)
    with bench.database.reading() as session:
        assert session.scalars(select(Report)).all() == []


def test_a_release_keeps_the_checkpoint_and_counts_no_attempt(bench: Bench) -> None:
    bench.calibrated()
    [lease] = bench.lease()
    bench.release(lease, bench.checkpoint(10))
    bench.release(lease)
    [again] = bench.lease()
    assert (again.job.uid, again.job.attempt, again.token) == (lease.job.uid, 1, 2)
    assert again.job.resume is not None
    assert again.job.resume.step == 10
    assert _outcomes(bench, again) == ["released", "running"]


def test_diverged_training_is_a_result_and_no_error(bench: Bench) -> None:
    bench.calibrated()
    [lease] = bench.lease()
    bench.fail(lease, FailureCause.DIVERGED)
    bench.fail(lease, FailureCause.DIVERGED)
    trial = _trial(bench, lease)
    assert (trial.state, trial.reason) == (TrialState.DIVERGED, "diverged: it broke")
    assert _outcomes(bench, lease) == ["diverged"]


@pytest.mark.parametrize("cause", ["data", "definition"])
def test_some_failures_are_final(bench: Bench, cause: str) -> None:
    bench.calibrated()
    [lease] = bench.lease()
    bench.fail(lease, FailureCause(cause))
    trial = _trial(bench, lease)
    assert (trial.state, trial.reason) == (TrialState.FAILED, f"{cause}: it broke")


def test_other_failures_are_tried_again_after_a_pause_until_the_limit(bench: Bench) -> None:
    bench.calibrated()
    attempts = []
    for _ in range(3):
        [lease] = bench.lease()
        attempts.append(lease)
        bench.fail(lease, FailureCause.ERROR)
        bench.fail(lease, FailureCause.ERROR)
        assert bench.lease() == []
        bench.no_waiting()
    assert [lease.job.attempt for lease in attempts] == [1, 2, 3]
    lease = attempts[-1]
    trial = _trial(bench, lease)
    assert (trial.state, trial.attempts) == (TrialState.FAILED, 3)
    assert _outcomes(bench, lease) == ["failed"] * 3
    with pytest.raises(LeaseLost):
        bench.complete(lease)


def test_a_heartbeat_keeps_the_lease(bench: Bench) -> None:
    bench.calibrated()
    [lease] = bench.lease()
    bench.set_back(lease.job.uid, 60.0)
    assert _beat(bench, lease).action is Action.CONTINUE
    with bench.database.writing() as session:
        assert not attempts.lapse(
            session, lease.job.uid, vocabulary=bench.vocabulary, max_attempts=3
        )
    trial = _trial(bench, lease)
    assert (trial.state, trial.step, trial.steps_per_second) == (TrialState.LEASED, 5, 2.0)


def test_an_interrupted_trial_goes_before_a_new_one(bench: Bench) -> None:
    bench.calibrated()
    bench.propose()
    [first], [second] = bench.lease(), bench.lease()
    bench.propose()
    bench.release(second)
    [next_one] = bench.lease()
    assert (first.job.number, second.job.number, next_one.job.number) == (1, 2, 2)


def test_priority_goes_before_fair_share_and_fair_share_before_age(bench: Bench) -> None:
    old, young, urgent = bench.submit(), bench.submit(), bench.submit(priority=5)
    assert [bench.lease()[0].job.study_id for _ in range(3)] == [urgent, old, young]


def test_a_worker_without_the_labels_gets_nothing(bench: Bench) -> None:
    study = bench.submit(labels={"gpu": "a100"})
    assert bench.lease() == []
    able = bench.register("able", labels={"gpu": "a100", "rack": "7"})
    assert bench.lease(worker=able)[0].job.study_id == study


def test_a_stranger_is_told_to_register(bench: Bench) -> None:
    with pytest.raises(WorkerNotFound, match="register again"):
        bench.lease(worker="nobody")


def test_sixteen_threads_lease_forty_trials_once_each(bench: Bench) -> None:
    bench.calibrated(budget={"trials": 41}, search={"ahead": 40})
    bench.propose()
    workers = [bench.register(f"w{i}") for i in range(16)]
    taken: list[Lease] = []
    barrier = threading.Barrier(len(workers))

    def pull(worker: str) -> None:
        barrier.wait()
        while leases := bench.lease(2, worker=worker):
            taken.extend(leases)

    threads = [threading.Thread(target=pull, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(lease.job.number for lease in taken) == list(range(1, 41))
    assert len({lease.id for lease in taken}) == 40


def test_of_two_results_at_once_one_is_recorded(bench: Bench) -> None:
    bench.calibrated()
    [lease] = bench.lease()
    barrier, refused = threading.Barrier(2), []

    def finish(psnr: float) -> None:
        barrier.wait()
        try:
            bench.complete(lease, metrics={"psnr_y": psnr, "mdsi": 0.1})
        except IllegalMove:
            refused.append(psnr)

    threads = [threading.Thread(target=finish, args=(psnr,)) for psnr in (1.0, 2.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [late] = refused
    assert _trial(bench, lease).metrics["psnr_y"] == 3.0 - late
    assert _outcomes(bench, lease) == ["complete"]


def test_ends_at_once_get_different_times_of_the_studys_clock(bench: Bench) -> None:
    study = bench.calibrated(budget={"trials": 9}, search={"ahead": 8})
    bench.propose()
    leases = bench.lease(8)
    before = bench.study(study)
    barrier = threading.Barrier(len(leases))

    def finish(lease: Lease) -> None:
        barrier.wait()
        bench.complete(lease)

    threads = [threading.Thread(target=finish, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after, ended = bench.study(study), bench.trials(study)[1:]
    assert {trial.finished_clock for trial in ended} == set(
        range(before.clock + 1, after.clock + 1)
    )
    assert len({trial.revision for trial in ended}) == 8


def test_a_repeated_report_keeps_the_lease_like_a_first_one(bench: Bench) -> None:
    bench.calibrated()
    [lease] = bench.lease()
    bench.report(lease, 25)
    bench.set_back(lease.job.uid, 60.0)
    bench.report(lease, 25)
    with bench.database.writing() as session:
        assert not attempts.lapse(
            session, lease.job.uid, vocabulary=bench.vocabulary, max_attempts=3
        )
