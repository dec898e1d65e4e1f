"""From a spool to MLflow's pages, through our own port, whatever dies in between."""

from __future__ import annotations

import io
import os
import re
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from PIL import Image

from service.contract.errors import ServerUnreachable, TrialNotFound
from service.contract.trial import TrackingRun
from service.tracking.labbook import LabBook
from service.tracking.server import MlflowServer
from workers.tracking import Spool, Uploader, png, sr_key
from workers.tracking import folder as layout
from workers.tracking.transport import MlflowAway, MlflowRefused, RunMissing, Transport


class Trials:
    """The service as an uploader sees it: trials and their runs."""

    def __init__(self, book: LabBook, name: str) -> None:
        self._book = book
        self.experiment = book.ensure_experiment(name, f"{name} · 1", "A sentence.", {})
        self.runs: dict[str, str] = {}

    def add(self, uid: str) -> str:
        self.runs[uid] = self._book.ensure_run(self.experiment, uid, uid, {}, 1000)
        return self.runs[uid]

    def resolve(self, uid: str) -> TrackingRun | None:
        if uid not in self.runs:
            return None
        return TrackingRun(experiment_id=self.experiment, run_id=self.runs[uid])


@pytest.fixture
def trials(book: LabBook, request: pytest.FixtureRequest) -> Trials:
    return Trials(book, request.node.name)


@pytest.fixture
def uploader(tmp_path: Path, port: str, trials: Trials) -> Iterator[Uploader]:
    thread = Uploader(tmp_path, f"{port}/mlflow", trials.resolve, every=0.05)
    thread.start()
    yield thread
    thread.stop()


def history(port: str, run_id: str, key: str) -> list[tuple[int, float]]:
    query: dict[str, Any] = {"run_id": run_id, "metric_key": key, "max_results": 25000}
    answer = httpx2.get(f"{port}/mlflow/api/2.0/mlflow/metrics/get-history", params=query)
    return [(int(m["step"]), m["value"]) for m in answer.json().get("metrics", [])]


def files(port: str, run_id: str, path: str) -> list[str]:
    query = {"run_id": run_id, "path": path}
    answer = httpx2.get(f"{port}/mlflow/api/2.0/mlflow/artifacts/list", params=query)
    return [file["path"] for file in answer.json().get("files", [])]


def test_everything_arrives_and_the_folder_goes(
    tmp_path: Path, port: str, uploader: Uploader, trials: Trials
) -> None:
    run = trials.add("u1")
    with Spool(tmp_path, "u1", 1) as spool:
        for step in range(1200):
            spool.metrics({"loss/total": step / 8, "loss/l1": step}, step)
        spool.tags({"srt.node": "here"})
        spool.file("eval/frames.csv", b"a,b\n1,2\n")
        spool.commit()
        assert uploader.drain(30)
        assert spool.folder.exists()
    assert uploader.drain(30)
    assert not spool.folder.exists()
    assert history(port, run, "loss/total") == [(step, step / 8) for step in range(1200)]
    assert files(port, run, "eval") == ["eval/frames.csv"]


def test_pictures_go_to_the_grid(
    tmp_path: Path, port: str, uploader: Uploader, trials: Trials
) -> None:
    run = trials.add("u2")
    picture = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1))
    with Spool(tmp_path, "u2", 1) as spool:
        spool.image(sr_key(0), 500, png(picture))
        spool.commit()
    assert uploader.drain(30)
    small, full = sorted(files(port, run, "images"), key=lambda name: name.endswith("png"))
    pattern = r"images/sample~0~sr\+step\+500\+timestamp\+\d+\+[0-9a-f-]{36}"
    assert re.fullmatch(pattern + r"\.png", full)
    assert re.fullmatch(pattern + r"\+compressed\.webp", small)
    query = {"run_id": run, "path": small}
    shown = httpx2.get(f"{port}/mlflow/get-artifact", params=query).content
    expected = Image.open(io.BytesIO(png(picture)))
    assert Image.open(io.BytesIO(shown)).convert("RGB").tobytes() == expected.tobytes()
    found = httpx2.get(f"{port}/mlflow/api/2.0/mlflow/runs/get", params={"run_id": run}).json()
    assert {"key": "mlflow.loggedImages", "value": "true"} in found["run"]["data"]["tags"]


def test_mlflow_killed_while_uploading_loses_and_repeats_nothing(
    tmp_path: Path, port: str, mlflow: MlflowServer, uploader: Uploader, trials: Trials
) -> None:
    run = trials.add("u3")
    killed = mlflow.pid
    assert killed is not None
    with Spool(tmp_path, "u3", 1) as spool:
        for step in range(6000):
            spool.metrics({"loss/total": step}, step)
        spool.commit()
        while not layout.sent(spool.folder):
            threading.Event().wait(0.01)
        os.kill(killed, signal.SIGKILL)
        assert layout.sent(spool.folder) < layout.committed(spool.folder)
    assert uploader.drain(90)
    assert history(port, run, "loss/total") == [(step, step) for step in range(6000)]


def test_a_batch_whose_answer_was_lost_is_not_shown_twice(
    tmp_path: Path, port: str, trials: Trials
) -> None:
    run = trials.add("u4")
    with Spool(tmp_path, "u4", 1) as spool:
        spool.metrics({"loss/total": 1.0}, 1)
        spool.image("picture", 1, png(torch.zeros(3, 4, 4)))
        spool.commit()
        for _ in range(2):
            layout.mark_sent(spool.folder, 0)
            (spool.folder / layout.CONTENT).mkdir(exist_ok=True)
            stop_after_draining(tmp_path, port, trials)
    assert history(port, run, "loss/total") == [(1, 1.0)]
    assert len(files(port, run, "images")) == 2


def stop_after_draining(root: Path, port: str, trials: Trials) -> None:
    uploader = Uploader(root, f"{port}/mlflow", trials.resolve, every=0.05)
    uploader.start()
    assert uploader.drain(30)
    uploader.stop()


def test_points_wait_for_a_run_that_is_not_there_yet(
    tmp_path: Path, port: str, uploader: Uploader, trials: Trials
) -> None:
    with Spool(tmp_path, "late", 1) as spool:
        spool.metrics({"loss/total": 1.0}, 1)
        spool.commit()
    assert not uploader.drain(0.5)
    run = trials.add("late")
    assert uploader.drain(30)
    assert history(port, run, "loss/total") == [(1, 1.0)]


def test_what_mlflow_refuses_is_kept_and_its_neighbours_pass(
    tmp_path: Path, port: str, uploader: Uploader, trials: Trials
) -> None:
    run = trials.add("u5")
    with Spool(tmp_path, "u5", 1) as spool:
        spool.metrics({"good": 1.0}, 1)
        spool.metrics({"bad\nname": 1.0}, 1)
        spool.metrics({"good": 2.0}, 2)
        spool.commit()
    assert uploader.drain(30)
    assert history(port, run, "good") == [(1, 1.0), (2, 2.0)]
    assert "bad" in (tmp_path / "dead" / "u5-1" / "refused.jsonl").read_text()


def test_a_deleted_trial_takes_its_curves_along(tmp_path: Path) -> None:
    def deleted(uid: str) -> TrackingRun | None:
        raise TrialNotFound(f"no trial {uid}")

    with Spool(tmp_path, "gone", 1) as spool:
        spool.metrics({"loss/total": 1.0}, 1)
        spool.commit()
    uploader = Uploader(tmp_path, "http://127.0.0.1:9", deleted, every=0.01)
    uploader.start()
    assert uploader.drain(5)
    uploader.stop()
    assert not spool.folder.exists()


def test_an_absent_service_keeps_everything(tmp_path: Path) -> None:
    def away(uid: str) -> TrackingRun | None:
        raise ServerUnreachable(f"nothing answers for {uid}")

    with Spool(tmp_path, "kept", 1) as spool:
        spool.metrics({"loss/total": 1.0}, 1)
        spool.commit()
    uploader = Uploader(tmp_path, "http://127.0.0.1:9", away, every=0.01)
    uploader.start()
    assert not uploader.drain(0.5)
    uploader.stop()
    assert layout.committed(spool.folder) > layout.sent(spool.folder) == 0


@pytest.mark.parametrize(
    ("status", "text", "meaning"),
    [
        (500, "", MlflowAway),
        (503, "MLflow is starting", MlflowAway),
        (429, "", MlflowAway),
        (401, "token", MlflowAway),
        (400, "QueuePool limit of size 5 overflow 10 reached", MlflowAway),
        (400, "INVALID_PARAMETER_VALUE", MlflowRefused),
        (404, "RESOURCE_DOES_NOT_EXIST", RunMissing),
        (400, "The run x must be in the 'active' state", RunMissing),
    ],
)
def test_only_what_may_succeed_later_is_sent_again(
    status: int, text: str, meaning: type[Exception]
) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        transport = Transport(f"http://127.0.0.1:{web.server_port}", None)
        with pytest.raises(meaning):
            transport.log_batch("run", {"metrics": []})
        web.shutdown()
        thread.join()
