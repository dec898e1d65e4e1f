"""The lab book as strangers, readers, workers and admins meet it: the whole application before it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from service.app import create_app
from service.contract.access import Scope
from service.contract.study import StudyDefinition
from service.contract.trial import StudyState, TrialState
from service.contract.vocabulary import Vocabulary
from service.contract.worker import WorkerState
from service.models import Study, Token, Trial, Worker
from service.settings import Settings
from service.tokens import create_token
from service.tracking import open_lab_book
from tests.tracking.conftest import DEFINITION, attempt, trial

API, FILES = "/mlflow/api/2.0/mlflow", "/mlflow/api/2.0/mlflow-artifacts/artifacts"


@dataclass
class House:
    """A service with two workers of a token each, and a run of a trial that the first one trains."""

    client: TestClient
    secrets: dict[str, str]
    run_id: str
    experiment_id: str

    def bearer(self, name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secrets[name]}"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, port: str) -> Iterator[House]:
    folder: Path = tmp_path_factory.mktemp("house")
    settings = Settings(data=folder, mlflow_uri=f"{port}/mlflow")
    app = create_app(settings, Vocabulary(), open_lab_book=open_lab_book)
    with TestClient(app, base_url="http://127.0.0.1:8470") as client:
        database = app.state.service.database
        secrets: dict[str, str] = {}
        with database.writing() as session:
            for name, scope in {
                "w1": Scope.WORKER,
                "w2": Scope.WORKER,
                "reader": Scope.READ,
                "author": Scope.SUBMIT,
                "boss": Scope.ADMIN,
            }.items():
                secrets[name] = create_token(session, name, [scope])
            session.flush()
            ids = {token.name: token.id for token in session.scalars(select(Token))}
            definition = StudyDefinition.model_validate(DEFINITION).model_dump(mode="json")
            session.add(
                Study(
                    id="guarded",
                    name="guarded",
                    definition=definition,
                    state=StudyState.ACTIVE,
                    created=1000.0,
                    revision=1,
                )
            )
            for name in ("w1", "w2"):
                session.add(
                    Worker(
                        id=name,
                        name=name,
                        devices=[],
                        slots=1,
                        state=WorkerState.ACTIVE,
                        last_seen=1000.0,
                        token_id=ids[name],
                    )
                )
            session.flush()
            leased = trial("guarded", 0, TrialState.LEASED)
            leased.expires, leased.worker_id = time.time() + 1000, "w1"
            session.add(leased)
            session.flush()
            session.add(attempt("guarded-0", 0))
        end = time.monotonic() + 30
        while True:
            with database.reading() as session:
                run_id = session.scalars(select(Trial.run_id)).one()
                experiment_id = session.scalars(select(Study.experiment_id)).one()
            if run_id and experiment_id:
                break
            assert time.monotonic() < end
            time.sleep(0.05)
        yield House(client, secrets, run_id, experiment_id)


def test_strangers_see_nothing(house: House) -> None:
    for headers in ({}, {"authorization": "Bearer srt_guess"}):
        assert house.client.get("/mlflow/", headers=headers).status_code == 401
        assert house.client.post(f"{API}/runs/search", json={}, headers=headers).status_code == 401


@pytest.mark.parametrize("name", ["reader", "author", "w2", "boss"])
def test_whoever_may_read_may_look(house: House, name: str) -> None:
    answer = house.client.get(
        f"{API}/runs/get", params={"run_id": house.run_id}, headers=house.bearer(name)
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("name", "status"), [("reader", 403), ("author", 403), ("w2", 403), ("w1", 200), ("boss", 200)]
)
def test_only_the_runs_worker_and_an_admin_write(house: House, name: str, status: int) -> None:
    headers = house.bearer(name)
    body = {"run_id": house.run_id, "key": f"env.{name}", "value": "x"}
    path = f"{FILES}/{house.experiment_id}/{house.run_id}/artifacts/{name}.txt"
    assert (
        house.client.post(f"{API}/runs/set-tag", json=body, headers=headers).status_code == status
    )
    assert house.client.put(path, content=b"x", headers=headers).status_code == status


@pytest.mark.parametrize(("name", "status"), [("w1", 403), ("author", 403), ("boss", 200)])
def test_only_an_admin_renames(house: House, name: str, status: int) -> None:
    body = {"run_id": house.run_id, "run_name": "t000"}
    answer = house.client.post(f"{API}/runs/update", json=body, headers=house.bearer(name))
    assert answer.status_code == status


@pytest.mark.parametrize("host", ["10.evil.com", "192.168.evil.com", "localhost.evil.com", "evil"])
def test_a_page_under_another_name_cannot_reach_this_machine(house: House, host: str) -> None:
    headers = house.bearer("boss") | {"host": host, "origin": f"http://{host}"}
    for method, path in (("GET", "/mlflow/"), ("POST", f"{API}/runs/search")):
        assert house.client.request(method, path, json={}, headers=headers).status_code == 421


def test_a_page_of_another_site_cannot_write(house: House) -> None:
    headers = house.bearer("boss") | {"origin": "https://evil.example"}
    assert house.client.post(f"{API}/runs/search", json={}, headers=headers).status_code == 403
