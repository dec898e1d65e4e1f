"""Writing into MLflow, once or twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from service.contract.errors import Unavailable
from service.tracking.labbook import LabBook, PageMissing, Refused
from service.tracking.server import MlflowServer
from service.tracking.unix import UnixTransport


@pytest.fixture
def raw(mlflow: MlflowServer) -> Iterator[httpx2.Client]:
    transport = UnixTransport(str(mlflow.socket))
    base = "http://localhost/api/2.0/mlflow/"
    with httpx2.Client(transport=transport, base_url=base) as client:
        yield client


@pytest.fixture
def experiment(book: LabBook, request: pytest.FixtureRequest) -> str:
    name = request.node.name
    return book.ensure_experiment(name, f"{name} · 1", "A sentence.", {})


def runs(raw: httpx2.Client, experiment: str) -> list[str]:
    found = raw.post("runs/search", json={"experiment_ids": [experiment]}).json()
    return [run["info"]["run_id"] for run in found.get("runs", [])]


def test_an_experiment_is_made_once(book: LabBook) -> None:
    first = book.ensure_experiment("once", "photos · once", "A sentence.", {"team": "sr"})
    assert book.ensure_experiment("once", "photos · once", "A sentence.", {}) == first


def test_a_deleted_experiment_comes_back(book: LabBook, raw: httpx2.Client) -> None:
    first = book.ensure_experiment("back", "photos · back", "A sentence.", {})
    raw.post("experiments/delete", json={"experiment_id": first})
    assert book.ensure_experiment("back", "photos · back", "A sentence.", {}) == first


def test_a_run_is_made_once(book: LabBook, raw: httpx2.Client, experiment: str) -> None:
    first = book.ensure_run(experiment, "u1", "t001", {}, 1000)
    assert book.ensure_run(experiment, "u1", "t001", {}, 1000) == first
    assert runs(raw, experiment) == [first]


def test_of_two_runs_of_a_trial_one_goes(
    book: LabBook, raw: httpx2.Client, experiment: str
) -> None:
    tags = [{"key": "srt.trial_uid", "value": "u2"}]
    for _ in range(2):
        raw.post("runs/create", json={"experiment_id": experiment, "tags": tags})
    assert len(runs(raw, experiment)) == 2
    kept = book.ensure_run(experiment, "u2", "t002", {}, 1000)
    assert runs(raw, experiment) == [kept]


def test_a_changed_parameter_is_refused(book: LabBook, experiment: str) -> None:
    run = book.ensure_run(experiment, "u3", "t003", {}, 1000)
    book.log(run, params={"w.l1": "1"})
    book.log(run, params={"w.l1": "1"})
    with pytest.raises(Refused):
        book.log(run, params={"w.l1": "2"})


def test_an_unknown_run_is_missing(book: LabBook) -> None:
    with pytest.raises(PageMissing):
        book.log("0" * 32, tags={"a": "b"})


def test_nobody_listening_is_unavailable(tmp_path: Path) -> None:
    book = LabBook.at_socket(str(tmp_path / "nobody.sock"))
    with pytest.raises(Unavailable, match="MLflow does not answer"):
        book.ensure_experiment("x", "x", "x", {})


def test_another_server_is_unavailable() -> None:
    page = httpx2.MockTransport(lambda _: httpx2.Response(200, text="<html>"))
    with pytest.raises(Unavailable, match="is not MLflow"):
        LabBook(page).ensure_experiment("x", "x", "x", {})


def test_the_empty_default_experiment_goes(book: LabBook, raw: httpx2.Client) -> None:
    book.delete_default_experiment()
    book.delete_default_experiment()
    found = raw.post("experiments/search", json={"max_results": 100}).json()
    assert "Default" not in [e["name"] for e in found.get("experiments", [])]
