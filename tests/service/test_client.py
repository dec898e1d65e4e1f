"""The client against a real service over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.client import Client
from service.contract.errors import (
    InvalidStudy,
    KeyReused,
    LeaseLost,
    NotFound,
    ServerUnreachable,
    StudyNotFound,
)
from service.contract.trial import (
    Action,
    Calibration,
    EnqueueRequest,
    Failure,
    FailureCause,
    Heartbeat,
    Lease,
    LeaseRequest,
    Release,
    Report,
    Result,
    StudyState,
    TrialKind,
    TrialState,
)
from service.contract.worker import Device, Registration

Server = Any
Serve = Callable[..., Server]
NORMS = {"l1": 2.0, "content": 40.0, "edge": 0.5}


def _register(client: Client, name: str = "w1") -> str:
    return client.register(Registration(name=name, devices=[Device(kind="cpu", name="cpu")])).id


def _complete(client: Client, lease: Lease, tmp_path: Path) -> None:
    content = lease.job.shares.get("content", 0.0)
    metrics = {"psnr_y": 30.0 - content, "mdsi": 0.5 - content**2 / 4}
    start = calibration = None
    if lease.job.kind is TrialKind.START:
        (tmp_path / "start").write_bytes(b"start")
        start = client.put_blob(tmp_path / "start")
        calibration = Calibration(norms=NORMS, values=NORMS, batches=8)
    client.complete(
        lease.id,
        Result(
            token=lease.token, step=100, metrics=metrics, start=start, calibration=calibration,
            train_seconds=2.0,
        ),
    )  # fmt: skip


def _lease(client: Client, worker: str) -> Lease:
    """Ask until the proposer has caught up."""
    for _ in range(200):
        if leases := client.lease(LeaseRequest(worker=worker)):
            return leases[0]
        time.sleep(0.02)
    raise AssertionError("no trial was offered")


def test_a_study_goes_from_submission_to_its_best_weights(
    serve: Serve, definition: dict[str, Any], tmp_path: Path
) -> None:
    client = serve().client()
    study = client.submit(definition)
    worker = _register(client)
    while client.study(study.id).state is StudyState.ACTIVE:
        lease = _lease(client, worker)
        client.heartbeat(lease.id, Heartbeat(token=lease.token, step=10))
        if lease.job.kind is TrialKind.SEARCH:
            report = Report(token=lease.token, step=25, metrics={"psnr_y": 20.0, "mdsi": 0.5})
            assert client.report(lease.id, report).action is Action.CONTINUE
        _complete(client, lease, tmp_path)
    ended = client.study("small")
    assert (ended.state, ended.progress.done_trials) == (StudyState.FINISHED, 6)
    assert ended.progress.seconds_left == 0.0
    trials = client.trials(study.id)
    assert [trial.number for trial in trials] == list(range(7))
    assert trials[1].rungs == {25: {"psnr_y": 20.0, "mdsi": 0.5}}
    assert client.trial(study.id, 3) == trials[3]
    front = client.front(study.id)
    values = [member.metrics["psnr_y"] for member in front.members]
    assert values == sorted(values)
    assert len(front.members) + len(front.dominated) == 6
    best = client.best(study.id, prefer="psnr_y")
    assert best.trial.metrics["psnr_y"] == max(values)
    assert [baseline.number for baseline in best.baselines] == [1]
    assert client.importance(study.id) == []
    assert [transfer.step for transfer in client.transfer(study.id)] == [25, 50, 75]
    assert client.tracking(trials[1].uid) is None


def test_errors_come_back_as_they_were_raised(serve: Serve, definition: dict[str, Any]) -> None:
    client = serve().client()
    with pytest.raises(StudyNotFound, match="no study has the id or name 'nothing'"):
        client.study("nothing")
    with pytest.raises(InvalidStudy) as error:
        client.submit({**definition, "losses": [{"loss": "l3"}], "objectives": ["beauty"]})
    assert {problem.path for problem in error.value.problems} >= {
        "losses[0].loss", "objectives[0]",
    }  # fmt: skip
    assert error.value.problems == client.validate(
        {**definition, "losses": [{"loss": "l3"}], "objectives": ["beauty"]}
    )
    assert client.validate(definition) == []
    with pytest.raises(LeaseLost):
        client.heartbeat("nonsense", Heartbeat(token=1, step=0))
    study = client.submit(definition)
    with pytest.raises(NotFound, match="no complete trial"):
        client.best(study.id)


def test_a_repeated_submission_gets_the_first_answer(
    serve: Serve, definition: dict[str, Any]
) -> None:
    client = serve().client()
    first = client.submit(definition, key="k")
    assert client.submit(definition, key="k") == first
    with pytest.raises(KeyReused):
        client.submit({**definition, "priority": 1}, key="k")
    assert [study.id for study in client.studies()] == [first.id]


def test_eight_equal_submissions_at_once_make_one_study(
    serve: Serve, definition: dict[str, Any]
) -> None:
    server = serve()
    answers: list[str] = []

    def submit() -> None:
        answers.append(server.client().submit(definition, key="same").id)

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert len(set(answers)) == 1
    assert len(server.client().studies()) == 1


def test_a_study_is_steered_over_http(serve: Serve, definition: dict[str, Any]) -> None:
    client = serve().client()
    study = client.submit(definition)
    assert client.pause(study.id).state is StudyState.PAUSED
    assert client.lease(LeaseRequest(worker=_register(client))) == []
    assert client.resume(study.id).state is StudyState.ACTIVE
    assert client.stop(study.id).state is StudyState.STOPPED
    assert client.studies(state="active") == []
    assert [one.id for one in client.studies(state="stopped")] == [study.id]
    client.delete(study.id)
    assert client.studies() == []


def test_a_point_is_queued_released_failed_and_listed(
    serve: Serve, definition: dict[str, Any], tmp_path: Path
) -> None:
    client = serve().client()
    study, worker = client.submit(definition), _register(client)
    _complete(client, _lease(client, worker), tmp_path)
    own = client.enqueue(study.id, EnqueueRequest(weights={"l1": 1.0, "edge": 2.0}))
    assert own.state is TrialState.QUEUED
    lease = _lease(client, worker)
    [view] = client.workers()
    assert view.holds == ["small#1"]
    client.release(lease.id, Release(token=lease.token))
    lease = _lease(client, worker)
    failure = Failure(token=lease.token, cause=FailureCause.DIVERGED, message="NaN in edge")
    client.fail(lease.id, failure)
    failed = client.trial(study.id, 1)
    assert (failed.state, failed.reason) == (TrialState.DIVERGED, "diverged: NaN in edge")
    assert [attempt.outcome for attempt in failed.attempts] == ["released", "diverged"]
    assert client.drain(worker).state == "draining"
    assert client.lease(LeaseRequest(worker=worker)) == []


def test_a_silent_workers_trial_goes_to_another(
    serve: Serve, definition: dict[str, Any], tmp_path: Path
) -> None:
    client = serve(lease_seconds=0.5).client()
    client.submit(definition)
    silent = _lease(client, _register(client, "silent"))
    able = _register(client, "able")
    again = _lease(client, able)
    assert (again.job.uid, again.token, again.job.attempt) == (silent.job.uid, 2, 2)
    with pytest.raises(LeaseLost):
        _complete(client, silent, tmp_path)
    _complete(client, again, tmp_path)
    assert {view.name: view.state for view in client.workers()}["able"] == "active"


def test_a_restarted_service_goes_on_where_it_stopped(
    serve: Serve, definition: dict[str, Any], tmp_path: Path
) -> None:
    first = serve()
    client = first.client()
    study, worker = client.submit(definition), _register(client)
    lease = _lease(client, worker)
    first.stop()
    with Client(first.url, patience=0.0) as late, pytest.raises(ServerUnreachable, match="right"):
        late.study(study.id)
    client = serve().client()
    _complete(client, lease, tmp_path)
    assert _lease(client, worker).job.origin.startswith("baseline")


def test_objects_of_any_size_go_there_and_back(serve: Serve, tmp_path: Path) -> None:
    client = serve().client()
    path = tmp_path / "weights"
    for content in (b"", b"x", bytes(range(256)) * 20_000):
        path.write_bytes(content)
        blob = client.put_blob(path)
        assert client.put_blob(path) == blob
        assert client.get_blob(blob, tmp_path / "back" / "again").read_bytes() == content


def test_events_tell_every_state_until_the_end(serve: Serve, definition: dict[str, Any]) -> None:
    client = serve().client()
    study = client.submit(definition)
    events = client.events(study.id)
    seen = [next(events).state]
    client.pause(study.id)
    seen.append(next(events).state)
    client.stop(study.id)
    seen.extend(view.state for view in events)
    assert seen == [StudyState.ACTIVE, StudyState.PAUSED, StudyState.STOPPED]
    with pytest.raises(StudyNotFound):
        next(client.events("nothing"))


def test_the_vocabulary_is_what_the_service_was_given(serve: Serve, vocabulary: Any) -> None:
    client = serve().client()
    assert client.vocabulary() == vocabulary
    assert client.ready()
