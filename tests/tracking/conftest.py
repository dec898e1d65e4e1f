"""A real MLflow child, our proxy in front of it on a real port, and rows to mirror."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import Depends, FastAPI, Request

from service.contract.access import IMPLIED, Caller, Scope
from service.contract.study import StudyDefinition
from service.contract.trial import StudyState, TrialKind, TrialState
from service.contract.vocabulary import MetricInfo, Vocabulary
from service.db import Database, Row
from service.models import Attempt, Study, Trial
from service.tracking.admission import Admission
from service.tracking.labbook import LabBook
from service.tracking.owners import RunOwner
from service.tracking.proxy import router, unix_transport
from service.tracking.server import MlflowServer

DEFINITION: dict[str, Any] = {
    "name": "photos-x2",
    "data": {"train": ["/photos"], "validation": ["/held-out"], "scale": 2},
    "model": {"name": "espcn"},
    "losses": [{"loss": "l1"}, {"loss": "content"}],
}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    child = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    child.start()
    assert child.wait_ready(90), child.folder.joinpath("mlflow.log").read_text()
    yield child
    child.stop()


@pytest.fixture
def mlflow(server: MlflowServer) -> MlflowServer:
    """The child, ready again if the test before has killed it."""
    assert server.wait_ready(60)
    return server


#: Whose run is whose, for the proxy at `port`.
OWNERS: dict[str, RunOwner] = {}


def said_to_be(request: Request) -> None:
    """`x-test-caller: id scope` is believed; an admin without one."""
    name, scope = request.headers.get("x-test-caller", "local admin").split()
    request.state.caller = Caller(name, name, IMPLIED[Scope(scope)])


@pytest.fixture(scope="session")
def port(server: MlflowServer) -> Iterator[str]:
    """`http://127.0.0.1:<port>`, where our proxy serves `/mlflow`."""
    app = FastAPI()
    routes = router(unix_transport(str(server.socket)), admission=Admission(OWNERS.get))
    app.include_router(routes, dependencies=[Depends(said_to_be)])
    web = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=web.run)
    thread.start()
    while not web.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{web.servers[0].sockets[0].getsockname()[1]}"
    web.should_exit = True
    thread.join(10)


@pytest.fixture
def book(mlflow: MlflowServer) -> Iterator[LabBook]:
    client = LabBook.at_socket(str(mlflow.socket))
    yield client
    client.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    rows = Database(f"sqlite:///{tmp_path / 'rows.db'}")
    Row.metadata.create_all(rows.engine)
    yield rows
    rows.close()


@pytest.fixture
def vocabulary() -> Vocabulary:
    metrics = {"psnr_y": "maximize", "hf_energy_error": "minimize"}
    return Vocabulary(
        metrics={
            name: MetricInfo.model_validate(
                {"name": name, "summary": "a score", "direction": way, "side": "distortion"}
            )
            for name, way in metrics.items()
        }
    )


@pytest.fixture
def study(database: Database, request: pytest.FixtureRequest) -> Study:
    """A stored study with a start, a complete, a pruned, a running, a failed and a queued trial."""
    row = Study(
        id=f"st{abs(hash(request.node.nodeid)) % 10**9}",
        name="photos-x2",
        definition=StudyDefinition.model_validate(DEFINITION).model_dump(mode="json"),
        state=StudyState.ACTIVE,
        created=1000.0,
        started=1001.0,
        finished=None,
        revision=6,
        told_revision=-1,
    )
    states = ("COMPLETE", "COMPLETE", "PRUNED", "LEASED", "FAILED", "QUEUED")
    with database.writing() as session:
        session.add(row)
        session.flush()
        session.add_all(trial(row.id, number, TrialState[s]) for number, s in enumerate(states))
        session.flush()
        session.add_all(attempt(f"{row.id}-{number}", number) for number in range(5))
    return row


def trial(study_id: str, number: int, state: TrialState) -> Trial:
    """A trial as the service would have left it in this state."""
    ended = state not in (TrialState.QUEUED, TrialState.LEASED)
    scores = {"psnr_y": 27 + number / 7, "hf_energy_error": 0.123456 / (number + 1)}
    return Trial(
        uid=f"{study_id}-{number}",
        study_id=study_id,
        number=number,
        kind=TrialKind.SEARCH if number else TrialKind.START,
        origin="sampler" if number else "start",
        state=state,
        reason="dominated at step 500" if state is TrialState.PRUNED else "",
        seed=number,
        shares={"l1": 0.75, "content": 0.25} if number else {},
        weights={"l1": 1.13, "content": 0.0061} if number else {},
        metrics=scores if state is TrialState.COMPLETE else {},
        created=1000.0 + number,
        finished=1100.0 + number if ended else None,
        token=0 if state is TrialState.QUEUED else 1,
        attempts=0 if state is TrialState.QUEUED else 1,
        revision=number + 1,
        told_revision=-1,
    )


def attempt(uid: str, number: int) -> Attempt:
    return Attempt(
        trial_uid=uid, token=1, lease_id=f"{uid}-lease", worker_id="w1", started=1050.0 + number
    )
