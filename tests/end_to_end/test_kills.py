"""Killing anything at any moment costs time and nothing else: the same results, bit for bit."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from service.contract.trial import StudyState, TrialState
from tests.end_to_end.bench import Bench, Pages, outcome, wait

STEPS = 320
POINTS = STEPS // 10  # log_every is 10


@pytest.fixture(scope="module")
def undisturbed(
    definition: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[int, Any]:
    """What the study comes to when nobody interferes."""
    bench = Bench(tmp_path_factory.mktemp("undisturbed"))
    try:
        bench.serve()
        bench.work()
        study = bench.client.submit(definition)
        assert bench.end(study.id).state is StudyState.FINISHED
        trials = bench.client.trials(study.id)
        assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
        return outcome(trials)
    finally:
        bench.close()


def attempts(bench: Bench, study: str) -> list[list[str]]:
    return [[a.outcome for a in trial.attempts] for trial in bench.client.trials(study)]


def test_a_second_run_of_the_same_study_proposes_and_trains_the_same(
    bench: Bench, definition: dict[str, Any], undisturbed: dict[int, Any]
) -> None:
    bench.serve()
    bench.work("another")
    study = bench.client.submit(definition | {"name": "the same again"})
    bench.end(study.id)
    assert outcome(bench.client.trials(study.id)) == undisturbed


def test_a_killed_worker_loses_no_trial_and_its_successor_ends_up_bit_for_bit_the_same(
    bench: Bench, definition: dict[str, Any], undisturbed: dict[int, Any]
) -> None:
    bench.serve()
    first = bench.work("first")
    study = bench.client.submit(definition)
    bench.training(study.id, 2, step=STEPS // 4)
    first.send_signal(signal.SIGKILL)
    first.wait()
    bench.work("second")
    assert bench.end(study.id).state is StudyState.FINISHED
    assert outcome(bench.client.trials(study.id)) == undisturbed
    assert attempts(bench, study.id) == [
        ["complete"], ["complete"], ["lapsed", "complete"], ["complete"],
    ]  # fmt: skip


def test_a_worker_told_to_end_hands_back_its_trial_and_exits_with_zero(
    bench: Bench, definition: dict[str, Any], undisturbed: dict[int, Any]
) -> None:
    bench.serve()
    first = bench.work("first")
    study = bench.client.submit(definition)
    bench.training(study.id, 1, step=STEPS // 4)
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 0
    handed_back = bench.client.trial(study.id, 1)
    assert handed_back.state is TrialState.QUEUED
    assert [attempt.outcome for attempt in handed_back.attempts] == ["released"]
    bench.work("second")
    bench.end(study.id)
    assert outcome(bench.client.trials(study.id)) == undisturbed


def test_a_killed_service_goes_on_where_it_was(
    bench: Bench, definition: dict[str, Any], undisturbed: dict[int, Any]
) -> None:
    service = bench.serve()
    bench.work()
    study = bench.client.submit(definition)
    bench.training(study.id, 1, step=STEPS // 4)
    service.send_signal(signal.SIGKILL)
    service.wait()
    again = bench.serve()
    bench.training(study.id, 2, step=0)
    again.send_signal(signal.SIGKILL)
    again.wait()
    bench.serve()
    assert bench.end(study.id).state is StudyState.FINISHED
    assert outcome(bench.client.trials(study.id)) == undisturbed


def test_a_killed_mlflow_shows_every_point_once_in_the_end(
    bench: Bench, definition: dict[str, Any], undisturbed: dict[int, Any]
) -> None:
    service = bench.serve()
    bench.work()
    study = bench.client.submit(definition)
    for number in (1, 3):
        bench.training(study.id, number, step=STEPS // 4)
        bench.mlflow(service).kill()
    bench.end(study.id)
    assert outcome(bench.client.trials(study.id)) == undisturbed
    with Pages(f"{bench.url}/mlflow") as pages:
        pages_are_whole(pages, study.id)


def test_without_mlflow_all_along_only_the_pages_come_later(
    tmp_path: Path, definition: dict[str, Any], undisturbed: dict[int, Any], free_port: int
) -> None:
    address = f"http://127.0.0.1:{free_port}"
    bench = Bench(tmp_path, SRTUNE_MLFLOW_URI=address)
    try:
        bench.serve()
        bench.work()
        study = bench.client.submit(definition)
        bench.end(study.id)
        assert outcome(bench.client.trials(study.id)) == undisturbed
        bench.processes.append(mlflow_at(free_port, tmp_path / "mlflow"))
        with Pages(address) as pages:
            pages_are_whole(pages, study.id)
    finally:
        bench.close()


def mlflow_at(port: int, folder: Path) -> subprocess.Popen[bytes]:
    """MLflow as somebody else would run it: the stock server, one process."""
    folder.mkdir()
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def pages_are_whole(pages: Pages, study_id: str) -> None:
    """Wait until every trial has one finished run with every point of its curves, once."""

    def whole() -> list[dict[str, Any]] | None:
        runs = pages.runs(study_id)
        done = len(runs) == 4 and all(run["status"] == "FINISHED" for run in runs)
        if not done or not all("result/psnr_y" in run["metrics"] for run in runs[1:]):
            return None
        return (
            runs
            if all(len(pages.history(r["id"], "loss/l1")) >= POINTS for r in runs[1:])
            else None
        )

    runs = wait(whole, 180, "MLflow's pages to fill")
    for run in runs[1:]:
        steps = Counter(step for step, _ in pages.history(run["id"], "loss/l1"))
        assert steps == Counter(range(10, STEPS + 1, 10))
        assert float(run["params"]["w.l1"]) > 0
