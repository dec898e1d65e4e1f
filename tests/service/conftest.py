"""A small vocabulary, a definition that uses it, and a bench that plays worker and person."""

from __future__ import annotations

import copy
import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import select

from service import attempts, dispatch, fleet, studies, trials
from service.app import create_app
from service.blobs import Blobs
from service.client import Client
from service.contract.trial import (
    Blob,
    Calibration,
    Checkpoint,
    Failure,
    FailureCause,
    Lease,
    LeaseRequest,
    Release,
    Report,
    Result,
    TrialKind,
    Verdict,
)
from service.contract.vocabulary import (
    LossInfo,
    MetricInfo,
    ModelInfo,
    Recipe,
    RecipeTerm,
    Vocabulary,
)
from service.contract.worker import Device, Registration
from service.db import Database
from service.models import Study, Trial
from service.proposer import Memories, propose
from service.settings import Settings

TERMS = ("l1", "content", "edge")
NORMS = {"l1": 2.0, "content": 40.0, "edge": 0.5}


def _loss(name: str, family: str, side: Any) -> LossInfo:
    return LossInfo(name=name, family=family, summary=name, side=side, share=(0.0, 1.0))


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    """Three losses, one model, two metrics that oppose each other, one recipe."""
    psnr = MetricInfo(name="psnr_y", summary="PSNR", direction="maximize", side="distortion")
    mdsi = MetricInfo(name="mdsi", summary="MDSI", direction="minimize", side="perception")
    recipe = Recipe(
        name="paper",
        summary="A paper's weights",
        source="nowhere",
        terms=[RecipeTerm(loss="l1", weight=0.01), RecipeTerm(loss="content", weight=1.0)],
    )
    return Vocabulary(
        losses={
            "l1": _loss("l1", "pixel", "distortion"),
            "content": _loss("content", "content", "perception"),
            "edge": _loss("edge", "edge", "distortion"),
        },
        models={"espcn": ModelInfo(name="espcn", summary="ESPCN", scales=[2, 3, 4])},
        metrics={"psnr_y": psnr, "mdsi": mdsi},
        recipes={"paper": recipe},
    )


@pytest.fixture
def definition() -> dict[str, Any]:
    """A study of six trials, one of them the baseline; rungs at steps 25, 50 and 75."""
    return {
        "name": "small",
        "data": {"train": ["/photos/train"], "validation": ["/photos/test"]},
        "model": {"name": "espcn"},
        "losses": [{"loss": name} for name in TERMS],
        "search": {"recipes": ["pixel"], "startup": 2, "seed": 7},
        "objectives": ["psnr_y", "mdsi"],
        "metrics": [],
        "training": {"steps": 100},
        "budget": {"trials": 6},
    }


@dataclass
class Bench:
    """Plays the people and the workers against the use cases, without HTTP."""

    database: Database
    vocabulary: Vocabulary
    definition: dict[str, Any]
    blobs: Blobs
    settings: Settings
    memories: Memories = field(init=False)
    worker: str = field(init=False)

    def __post_init__(self) -> None:
        self.memories = Memories(self.vocabulary)
        self.worker = self.register("one")

    def register(self, name: str, **options: Any) -> str:
        options.setdefault("devices", [Device(kind="cpu", name="cpu")])
        registration = Registration(name=name, **options)
        with self.database.writing() as session:
            return fleet.register(session, registration).id

    def submit(self, **changes: Any) -> str:
        """A study with these fields changed; dicts are merged into the definition's."""
        raw = copy.deepcopy(self.definition)
        for name, value in changes.items():
            merged = isinstance(value, dict) and isinstance(raw.get(name), dict)
            raw[name] = {**raw[name], **value} if merged else value
        with self.database.writing() as session:
            return studies.create(session, raw, self.vocabulary).id

    def calibrated(self, **changes: Any) -> str:
        """A study whose start job is done."""
        study = self.submit(**changes)
        self.complete(self.lease()[0])
        return study

    def store(self, content: bytes) -> Blob:
        digest = hashlib.sha256(content).hexdigest()
        with self.blobs.incoming(digest) as incoming:
            incoming.write(content)
            return incoming.finish()

    def checkpoint(self, step: int, content: bytes = b"state") -> Checkpoint:
        return Checkpoint(blob=self.store(content), step=step)

    def lease(self, capacity: int = 1, *, worker: str | None = None) -> list[Lease]:
        request = LeaseRequest(worker=worker or self.worker, capacity=capacity)
        with self.database.writing() as session:
            seconds = self.settings.lease_seconds
            return dispatch.lease(session, request, lease_seconds=seconds).leases

    def report(self, lease: Lease, step: int, **changes: Any) -> Verdict:
        metrics = changes.pop("metrics", score(lease))
        report = Report(token=lease.token, step=step, metrics=metrics, **changes)
        with self.database.writing() as session:
            return trials.report(
                session,
                lease.id,
                report,
                vocabulary=self.vocabulary,
                blobs=self.blobs,
                lease_seconds=self.settings.lease_seconds,
            )

    def result(self, lease: Lease, **changes: Any) -> Result:
        """What a worker sends at the end of this job."""
        fields: dict[str, Any] = {"metrics": score(lease), "step": 100, "train_seconds": 10.0}
        if lease.job.kind is TrialKind.START:
            fields["start"] = self.store(b"shared start")
            fields["calibration"] = Calibration(norms=NORMS, values=NORMS, batches=8)
        return Result(token=lease.token, **{**fields, **changes})

    def complete(self, lease: Lease, **changes: Any) -> None:
        result = self.result(lease, **changes)
        with self.database.writing() as session:
            trials.complete(session, lease.id, result, vocabulary=self.vocabulary, blobs=self.blobs)

    def fail(self, lease: Lease, cause: FailureCause = FailureCause.ERROR) -> None:
        failure = Failure(token=lease.token, cause=cause, message="it broke")
        with self.database.writing() as session:
            attempts.fail(
                session,
                lease.id,
                failure,
                vocabulary=self.vocabulary,
                max_attempts=self.settings.max_attempts,
            )

    def release(self, lease: Lease, checkpoint: Checkpoint | None = None) -> None:
        with self.database.writing() as session:
            release = Release(token=lease.token, checkpoint=checkpoint)
            trials.release(session, lease.id, release, blobs=self.blobs)

    def propose(self) -> None:
        propose(self.database, self.vocabulary, self.memories)

    def run_through(self, study: str) -> None:
        """Propose, lease and complete until there is nothing left."""
        self.propose()
        while leases := self.lease():
            self.complete(leases[0])
            self.propose()

    def study(self, ref: str) -> Study:
        with self.database.reading() as session:
            return studies.find(session, ref)

    def trials(self, ref: str) -> list[Trial]:
        with self.database.reading() as session:
            found = select(Trial).where(Trial.study_id == ref).order_by(Trial.number)
            return list(session.scalars(found))

    def set_back(self, uid: str, seconds: float) -> None:
        """Make a lease older than it is."""
        with self.database.writing() as session:
            trial = session.get_one(Trial, uid)
            assert trial.expires is not None
            trial.expires -= seconds

    def no_waiting(self) -> None:
        """Let every back-off be over."""
        with self.database.writing() as session:
            for trial in session.scalars(select(Trial)):
                trial.not_before = 0.0


def score(lease: Lease) -> dict[str, float]:
    """A front by construction: more content is worse for PSNR and better for MDSI."""
    content = lease.job.shares.get("content", 0.0)
    return {"psnr_y": 30.0 - 3.0 * content, "mdsi": 0.4 - 0.2 * math.sqrt(content)}


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs", limit=1_000_000)


@pytest.fixture
def bench(
    database: Database,
    vocabulary: Vocabulary,
    definition: dict[str, Any],
    blobs: Blobs,
    tmp_path: Path,
) -> Bench:
    settings = Settings(data=tmp_path, max_attempts=3, mlflow=False)
    return Bench(database, vocabulary, definition, blobs, settings)


@dataclass
class Server:
    """A service on a real port, in a thread of this process."""

    app: FastAPI
    settings: Settings
    server: uvicorn.Server
    thread: threading.Thread
    url: str
    clients: list[Client] = field(default_factory=list)
    bare: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.bare = httpx2.Client(base_url=self.url, timeout=30.0)

    def client(self, **options: Any) -> Client:
        self.clients.append(Client(self.url, patience=0.0, **options))
        return self.clients[-1]

    def http(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """A bare request; one client for all, because making one costs more than asking."""
        return self.bare.request(method, path, **options)

    def stop(self) -> None:
        self.bare.close()
        for client in self.clients:
            client.close()
        self.server.should_exit = True
        self.thread.join(20.0)
        assert not self.thread.is_alive()


@pytest.fixture
def serve(
    database_url: str, vocabulary: Vocabulary, tmp_path: Path
) -> Iterator[Callable[..., Server]]:
    """Starts services on one database; `lease_seconds` and the like change their settings."""
    started: list[Server] = []

    def start(**changes: Any) -> Server:
        options: dict[str, Any] = {
            "data": tmp_path, "database": database_url, "mlflow": False, "reap_seconds": 0.1,
        }  # fmt: skip
        settings = Settings(**{**options, **changes})
        app = create_app(settings, vocabulary)
        config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        deadline = time.monotonic() + 60.0
        while not server.started:
            assert thread.is_alive(), "the service did not start"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        started.append(Server(app, settings, server, thread, f"http://127.0.0.1:{port}"))
        return started[-1]

    yield start
    for server in started:
        server.stop()
