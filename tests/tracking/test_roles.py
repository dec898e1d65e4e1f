"""Who may write what into the lab book: a worker to its own runs, an admin to all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2
import pytest

from service.tracking.labbook import LabBook
from service.tracking.owners import RunOwner
from tests.tracking.conftest import OWNERS

API, FILES = "/mlflow/api/2.0/mlflow", "/mlflow/api/2.0/mlflow-artifacts/artifacts"


class Runs(NamedTuple):
    """A run of the worker `w`, another's, and one of no trial; all in one experiment."""

    experiment: str
    own: str
    other: str
    nobodys: str


@pytest.fixture(scope="module")
def runs(port: str) -> Iterator[Runs]:
    book = LabBook(base_url=f"{port}/mlflow")
    experiment = book.ensure_experiment("roles", "roles", "", {})
    own, other, nobodys = (
        book.ensure_run(experiment, f"roles-{name}", name, {}, 0) for name in ("a", "b", "c")
    )
    OWNERS[own] = RunOwner("w", experiment)
    OWNERS[other] = RunOwner("v", experiment)
    yield Runs(experiment, own, other, nobodys)
    book.close()
    OWNERS.clear()


@pytest.fixture
def worker(port: str) -> Iterator[httpx2.Client]:
    headers = {"x-test-caller": "w worker"}
    with httpx2.Client(base_url=port, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def admin(port: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=port, timeout=30) as client:
        yield client


def batch(run: str, key: str = "loss") -> dict[str, Any]:
    point = {"key": key, "value": 1.5, "timestamp": 1000, "step": 3}
    return {"run_id": run, "metrics": [point]}


def metrics(client: httpx2.Client, run: str) -> dict[str, float]:
    found = client.get(f"{API}/runs/get", params={"run_id": run}).json()["run"]["data"]
    return {metric["key"]: metric["value"] for metric in found.get("metrics", [])}


def test_a_worker_logs_to_its_own_run(worker: httpx2.Client, runs: Runs) -> None:
    assert worker.post(f"{API}/runs/log-batch", json=batch(runs.own, "mine")).status_code == 200
    one = {"run_id": runs.own, "key": "env.host", "value": "n1"}
    assert worker.post(f"{API}/runs/set-tag", json=one).status_code == 200
    path = f"{FILES}/{runs.experiment}/{runs.own}/artifacts/scores/a b.csv"
    assert worker.put(path, content=b"1,2").status_code == 200
    assert worker.get(path).content == b"1,2"
    assert metrics(worker, runs.own)["mine"] == 1.5


@pytest.mark.parametrize("whose", ["other", "nobodys"])
def test_a_worker_logs_to_no_other_run(worker: httpx2.Client, runs: Runs, whose: str) -> None:
    run = getattr(runs, whose)
    assert worker.post(f"{API}/runs/log-batch", json=batch(run, "foreign")).status_code == 403
    path = f"{FILES}/{runs.experiment}/{run}/artifacts/x"
    assert worker.put(path, content=b"x").status_code == 403
    assert "foreign" not in metrics(worker, run)


def test_a_run_is_not_smuggled_in_beside_ones_own(worker: httpx2.Client, runs: Runs) -> None:
    bodies: list[dict[str, Any]] = [
        {"run_uuid": runs.other},
        {"runId": runs.other},
        {"runUuid": runs.other},
        {"run_id": [runs.own, runs.other]},
        {"run_id": None},
        {"run_id": ""},
    ]
    for body in bodies:
        answer = worker.post(f"{API}/runs/log-batch", json=batch(runs.own, "smuggled") | body)
        assert answer.status_code == 403, body
    twice = f'{{"run_id":"{runs.own}","run_id":"{runs.other}","metrics":[]}}'
    kind = {"content-type": "application/json"}
    answer = worker.post(f"{API}/runs/log-batch", content=twice, headers=kind)
    assert answer.status_code == 403
    assert "smuggled" not in metrics(worker, runs.other)


def test_a_file_goes_to_the_run_its_path_names(worker: httpx2.Client, runs: Runs) -> None:
    own = f"{runs.experiment}/{runs.own}/artifacts"
    for path in (
        f"999/{runs.own}/artifacts/x",
        f"{runs.experiment}/models/m-1/artifacts/x",
        f"{runs.experiment}/{runs.own}/x",
        f"{own}/../../{runs.other}/artifacts/x",
        f"{own}/%2e%2e/%2e%2e/{runs.other}/artifacts/x",
        f"{own}/%252e%252e/x",
        f"{own}%2f..%2f..%2f{runs.other}%2fartifacts%2fx",
        f"{own}//{runs.other}",
        "x",
    ):
        answer = worker.put(f"{FILES}/{path}", content=b"x")
        assert answer.status_code in (403, 404), path


@pytest.mark.parametrize("tag", ["srt.trial_uid", "mlflow.parentRunId", "mlflow.runName"])
def test_tags_the_service_finds_runs_by_are_its_own(
    worker: httpx2.Client, runs: Runs, tag: str
) -> None:
    said = {"key": tag, "value": "roles-b"}
    alone, many = {"run_id": runs.own} | said, {"run_id": runs.own, "tags": [said]}
    assert worker.post(f"{API}/runs/set-tag", json=alone).status_code == 403
    assert worker.post(f"{API}/runs/log-batch", json=many).status_code == 403
    params = {"run_id": runs.own, "params": [{"key": "w.l1", "value": "9"}]}
    assert worker.post(f"{API}/runs/log-batch", json=params).status_code == 403


def test_a_worker_makes_renames_and_deletes_nothing(worker: httpx2.Client, runs: Runs) -> None:
    for call, body in {
        "experiments/create": {"name": "mine"},
        "experiments/update": {"experiment_id": runs.experiment, "new_name": "mine"},
        "experiments/delete": {"experiment_id": runs.experiment},
        "experiments/set-experiment-tag": {"experiment_id": runs.experiment, "key": "a"},
        "runs/create": {"experiment_id": runs.experiment},
        "runs/update": {"run_id": runs.own, "run_name": "mine"},
        "runs/delete": {"run_id": runs.own},
        "runs/delete-tag": {"run_id": runs.own, "key": "srt.trial_uid"},
        "registered-models/create": {"name": "mine"},
        "logged-models": {"experiment_id": runs.experiment},
    }.items():
        assert worker.post(f"{API}/{call}", json=body).status_code == 403, call


def test_a_reader_and_a_submitter_write_nothing(port: str, runs: Runs) -> None:
    for scope in ("read", "submit"):
        headers = {"x-test-caller": f"x {scope}"}
        answer = httpx2.post(f"{port}{API}/runs/log-batch", json=batch(runs.own), headers=headers)
        assert answer.status_code == 403


def test_an_admin_hides_a_run_and_shows_it_again(admin: httpx2.Client, runs: Runs) -> None:
    body = {"run_id": runs.nobodys}
    assert admin.post(f"{API}/runs/delete", json=body).status_code == 200
    stage = admin.get(f"{API}/runs/get", params=body).json()["run"]["info"]["lifecycle_stage"]
    assert stage == "deleted"
    assert admin.post(f"{API}/runs/restore", json=body).status_code == 200


def test_what_is_gone_for_good_not_even_an_admin_deletes(admin: httpx2.Client, runs: Runs) -> None:
    path = f"{FILES}/{runs.experiment}/{runs.own}/artifacts/kept.txt"
    assert admin.put(path, content=b"kept").status_code == 200
    assert admin.delete(path).status_code == 403
    assert admin.get(path).content == b"kept"
    assert admin.delete(f"{API}/registered-models/delete").status_code == 403
