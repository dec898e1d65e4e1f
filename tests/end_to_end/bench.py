"""A data folder, an address, and the processes started on them; what a study came to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2
import psutil

from service.client import Client
from service.contract.trial import StudyState, StudyView, TrialState, TrialView

Found = TypeVar("Found")
ENDED = (StudyState.FINISHED, StudyState.STOPPED, StudyState.FAILED)


class Bench:
    """One data folder, one address, and the processes started on them."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = Client(self.url, patience=30)
        self.environment = {
            "SRTUNE_LEASE_SECONDS": "3",
            "SRTUNE_REAP_SECONDS": "0.5",
            **environment,
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{name}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli.main", *arguments],
            stdout=log,
            stderr=log,
            env={**os.environ, **self.environment},
        )
        log.close()
        self.processes.append(process)
        return process

    def serve(self) -> subprocess.Popen[bytes]:
        process = self._start(
            "service", "serve", "--data", str(self.folder / "data"), "--port", str(self.port)
        )
        wait(self.client.ready, 60, f"the service to answer ({self.folder}/service.log)")
        return process

    def work(self, name: str = "one") -> subprocess.Popen[bytes]:
        folder = self.folder / f"worker-{name}"
        return self._start(
            f"worker-{name}", "worker", "--server", self.url, "--device", "cpu",
            "--folder", str(folder), "--name", name,
        )  # fmt: skip

    def mlflow(self, service: subprocess.Popen[bytes]) -> psutil.Process:
        """The service's MLflow child."""

        def find() -> psutil.Process | None:
            for child in psutil.Process(service.pid).children(recursive=True):
                if any("mlflow" in part for part in child.cmdline()):
                    return child
            return None

        return wait(find, 60, "the MLflow child")

    def training(self, study: str, number: int, step: int) -> TrialView:
        """Wait until trial `number` is in training and was heard of at `step` or later."""

        def there() -> TrialView | None:
            trial = next((t for t in self.client.trials(study) if t.number == number), None)
            if trial is None:
                return None
            assert trial.state in (TrialState.QUEUED, TrialState.LEASED), trial
            reported = max([*trial.rungs, 0])
            return trial if trial.state is TrialState.LEASED and reported >= step else None

        return wait(there, 90, f"trial {number} to reach step {step}")

    def end(self, study: str, seconds: float = 120) -> StudyView:
        def ended() -> StudyView | None:
            view = self.client.study(study)
            return view if view.state in ENDED else None

        return wait(ended, seconds, f"the study to end (logs in {self.folder})")

    def close(self) -> None:
        self.client.close()
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait(question: Callable[[], Found | None], seconds: float, what: str) -> Found:
    """Ask until the answer is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)
    return answer


def outcome(trials: list[TrialView]) -> dict[int, Any]:
    """What a study is for: weights tried, scores, and the trained networks, byte for byte."""
    return {
        trial.number: (
            trial.state,
            trial.weights,
            trial.metrics,
            trial.rungs,
            trial.weights_blob.sha256 if trial.weights_blob else None,
        )
        for trial in trials
    }


class Pages:
    """What MLflow shows, read through the service's port or its own."""

    def __init__(self, address: str) -> None:
        self._http = httpx2.Client(base_url=f"{address}/api/2.0/mlflow", timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def runs(self, study_id: str) -> list[dict[str, Any]]:
        """The runs of a study's trials; none while MLflow is away."""
        try:
            experiments = self._post(
                "/experiments/search",
                {"max_results": 5, "filter": f"tags.`srt.study_id` = '{study_id}'"},
            ).get("experiments", [])
            ids = [experiment["experiment_id"] for experiment in experiments]
            if not ids:
                return []
            found = self._post("/runs/search", {"experiment_ids": ids, "max_results": 100})
        except httpx2.HTTPError:
            return []
        runs = [_flat(run) for run in found.get("runs", [])]
        return sorted(
            (run for run in runs if "srt.trial" in run["tags"]),
            key=lambda run: int(run["tags"]["srt.trial"]),
        )

    def history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """(step, value) of every stored point of one curve."""
        answer = self._http.get(
            "/metrics/get-history",
            params={"run_id": run_id, "metric_key": key, "max_results": 5000},
        )
        answer.raise_for_status()
        return [
            (int(p.get("step", 0)), float(p["value"])) for p in answer.json().get("metrics", [])
        ]

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._http.post(path, json=body)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


def _flat(run: dict[str, Any]) -> dict[str, Any]:
    data = run.get("data", {})
    return {
        "id": run["info"]["run_id"],
        "name": run["info"]["run_name"],
        "status": run["info"]["status"],
        "tags": {tag["key"]: tag["value"] for tag in data.get("tags", [])},
        "params": {param["key"]: param["value"] for param in data.get("params", [])},
        "metrics": {metric["key"]: metric["value"] for metric in data.get("metrics", [])},
    }
