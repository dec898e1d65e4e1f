"""`srtune study ...` against a real service, with a thread that plays the worker."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.console import Console

from service.cli import main as cli
from service.cli.demo_results import verdict
from service.cli.watch import Snapshot, changes, snapshots, view
from service.client import Client
from service.contract.trial import (
    Calibration,
    Failure,
    FailureCause,
    Heartbeat,
    LeaseRequest,
    Result,
    StudyState,
    TrialKind,
)
from service.contract.vocabulary import Vocabulary
from service.contract.worker import Device, Registration

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
Serve = Callable[..., Any]
NORMS = {"l1": 2.0, "content": 40.0, "edge": 0.5}


class Ran(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Trainer:
    """A worker whose trainings take no time; more content is worse for PSNR, better for MDSI."""

    def __init__(self, url: str, folder: Path, *, fails: bool = False) -> None:
        self.client, self.folder, self.fails = Client(url), folder, fails
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join(20)
        self.client.close()

    def _run(self) -> None:
        device = Device(kind="cpu", name="cpu")
        worker = self.client.register(Registration(name="node/0", devices=[device])).id
        while not self.ended.wait(0.02):
            for lease in self.client.lease(LeaseRequest(worker=worker)):
                if self.fails:
                    failure = Failure(
                        token=lease.token,
                        cause=FailureCause.DATA,
                        message="[Errno 2] no photos: [/data]",
                    )
                    self.client.fail(lease.id, failure)
                    continue
                beat = Heartbeat(token=lease.token, step=40, steps_per_second=12.5)
                self.client.heartbeat(lease.id, beat)
                time.sleep(0.1)
                self.client.complete(
                    lease.id, self._result(lease.token, lease.job.kind, lease.job.shares)
                )

    def _result(self, token: int, kind: TrialKind, shares: dict[str, float]) -> Result:
        content = shares.get("content", 0.0)
        metrics = {"psnr_y": 30.0 - 3 * content, "mdsi": 0.4 - 0.2 * content**0.5}
        start = calibration = None
        if kind is TrialKind.START:
            (self.folder / "start").write_bytes(b"start")
            start = self.client.put_blob(self.folder / "start")
            calibration = Calibration(norms=NORMS, values=NORMS, batches=8)
        return Result(
            token=token, step=100, metrics=metrics, start=start, calibration=calibration,
            train_seconds=2.0,
        )  # fmt: skip


@pytest.fixture
def url(serve: Serve) -> str:
    """A service's address."""
    return str(serve().url)


@pytest.fixture
def file(definition: dict[str, Any], tmp_path: Path) -> str:
    """A definition with the baseline and a recipe, on disk."""
    definition["search"]["recipes"] = ["pixel", "paper"]
    path = tmp_path / "study.json"
    path.write_text(json.dumps(definition))
    return str(path)


@pytest.fixture
def srtune(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Run a command against the service, as the entry point does."""
    monkeypatch.setenv("SRTUNE_SERVER", url)
    monkeypatch.setenv("SRTUNE_DEBUG", "")

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["srtune", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Ran(code, *capsys.readouterr())

    return run


Srtune = Callable[..., Ran]


def test_submit_watch_and_results(srtune: Srtune, url: str, file: str, tmp_path: Path) -> None:
    with Trainer(url, tmp_path):
        ended = srtune("study", "submit", file, "--watch", "--json")
    assert (ended.code, ended.json["state"]) == (0, "finished")
    assert "6 of 6 trials done" in ended.err

    (listed,) = srtune("study", "list", "--json").json
    assert listed["id"] == ended.json["id"]
    trials = srtune("study", "trials", "small", "--json").json
    assert [trial["number"] for trial in trials] == list(range(7))
    front = srtune("study", "front", "small", "--json").json
    best = srtune("study", "best", "small", "--json").json
    assert best["trial"]["number"] in [member["number"] for member in front["members"]]

    shown = srtune("study", "best", "small").out
    assert f"trial {best['trial']['number']} (chosen)" in shown
    assert "chosen is better in" in shown
    assert "baseline" in shown
    assert "paper" in shown
    assert "psnr_y ↑" in srtune("study", "front", "small").out
    assert "recipe:paper" in srtune("study", "trials", "small").out
    assert "6 of 6 done" in srtune("study", "show", "small").out


def test_watching_a_failed_study_exits_with_its_reason(
    srtune: Srtune, url: str, file: str, tmp_path: Path
) -> None:
    with Trainer(url, tmp_path, fails=True):
        ran = srtune("study", "submit", file, "--watch")
    assert ran.code == 1
    assert ran.err.splitlines()[-1].startswith("study small failed: ")
    assert "[Errno 2] no photos: [/data]" in ran.err  # no markup
    assert "[Errno 2] no photos: [/data]" in srtune("study", "list").out


def test_pause_resume_stop_and_delete(srtune: Srtune, file: str) -> None:
    ref = srtune("study", "submit", file, "--json").json["id"]
    assert srtune("study", "pause", ref).out == f"small ({ref}) is paused: paused by a person\n"
    assert srtune("study", "list", "--state", "paused", "--json").json[0]["id"] == ref
    assert srtune("study", "resume", ref, "--json").json["state"] == "active"
    assert srtune("study", "stop", ref, "--json").json["state"] == "stopped"
    assert srtune("study", "watch", ref, "--json").code == 0

    refused = srtune("study", "delete", ref)
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert srtune("study", "delete", ref, "--yes", "--json").json["deleted"] == ref
    gone = srtune("study", "show", ref)
    assert (gone.code, gone.err.count("\n")) == (1, 1)


def test_the_service_lists_every_problem(
    srtune: Srtune, definition: dict[str, Any], tmp_path: Path
) -> None:
    definition["losses"][1]["loss"] = "contnet"
    definition["training"]["stepz"] = 3
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(definition))
    for command in ("validate", "submit"):
        ran = srtune("study", command, str(path))
        assert ran.code == 2
        assert ran.out == ""
        assert "losses[1].loss: there is no loss `contnet`" in ran.err
        assert "training.stepz: unknown field `stepz`" in ran.err
    assert {
        problem["path"]
        for problem in srtune("study", "validate", str(path), "--json").json["problems"]
    } == {"losses[1].loss", "training.stepz"}


def test_an_unknown_state_is_wrong_usage(srtune: Srtune) -> None:
    ran = srtune("study", "list", "--state", "asleep")
    assert ran.code == 2
    assert "active, paused" in ran.err


def test_the_live_view_names_trials_workers_rates_and_front(
    srtune: Srtune, url: str, file: str, tmp_path: Path
) -> None:
    ref = srtune("study", "submit", file, "--json").json["id"]
    seen, said = "", list[str]()
    before: Snapshot | None = None
    with Trainer(url, tmp_path), Client(url, patience=0) as client:
        for shot in snapshots(client, ref, every=0.05):
            seen += _drawn(shot)
            said += changes(before, shot)
            before = shot
    assert before is not None
    assert before.study.state is StudyState.FINISHED
    assert "trial 0 (start)" in seen
    assert "node/0" in seen
    assert "12.5" in seen
    assert "time left unknown before a trial has finished" in seen
    assert "front: " in seen
    assert "trial 1 (baseline) trains on node/0" in said
    assert said[-1] == "6 of 6 trials done"


def test_a_service_that_goes_away_is_waited_for(serve: Serve, definition: dict[str, Any]) -> None:
    first = serve()
    with Client(first.url, patience=0) as client:
        ref = client.submit(definition).id
        shots = snapshots(client, ref, every=0.05)
        assert next(shots).away == ""
        first.server.should_exit = True
        first.thread.join(20)
        gone = next(shots)
        assert "nothing answered" in gone.away
        assert gone.study.id == ref
        assert "does not answer" in _drawn(gone)


def test_the_verdict_says_what_was_beaten_and_what_was_not(
    srtune: Srtune, url: str, file: str, tmp_path: Path, vocabulary: Vocabulary
) -> None:
    ref = srtune("study", "submit", file, "--json").json["id"]
    with Trainer(url, tmp_path), Client(url, patience=0) as client:
        for _ in snapshots(client, ref, every=0.05):
            pass
    with Client(url) as client:
        best, front = client.best(ref), client.front(ref)
    won = list(verdict(best, front, vocabulary))
    assert won[0].startswith("The chosen weights beat plain L1 in mdsi (mdsi ")
    nothing = {origin: dict.fromkeys(beats, False) for origin, beats in best.beats.items()}
    lost = list(verdict(best.model_copy(update={"beats": nothing}), front, vocabulary))
    assert lost[0].startswith("The chosen weights do NOT beat plain L1 in mdsi (")
    assert lost[1].startswith("The chosen weights do NOT beat paper's weights in psnr_y or mdsi (")


def _drawn(shot: Snapshot) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(view(shot))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return str(text)
