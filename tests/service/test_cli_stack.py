"""`srtune up` with real processes: it answers, survives its children, and leaves nobody behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from service.cli import main as cli
from service.cli.listening import free_port, only_one
from service.client import Client

ROOT = Path(cli.__file__).parents[2]
#: Seconds; test machines are busy, and a service imports for a while.
PATIENCE = 120.0


class Up:
    """A running `srtune up`, without MLflow, which has tests of its own."""

    def __init__(self, data: Path, *, workers: int) -> None:
        self.data = data
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        command = [sys.executable, "-m", "service.cli.main", "up", "--data", str(data), "--json"]
        command += ["--port", str(port), "--workers", str(workers), "--no-mlflow"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.family = {self.process.pid: psutil.Process(self.process.pid)}

    def addresses(self) -> dict[str, Any]:
        """What it writes once everything answers."""
        assert self.process.stdout is not None
        lines = ""
        while not lines.endswith("}\n"):
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            lines += line
        found: dict[str, Any] = json.loads(lines)
        return found

    def children(self, command: str) -> list[psutil.Process]:
        """The children that run a sub-command now; remembers everybody it ever saw."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        self.family |= {process.pid: process for process in found}
        return [
            process
            for process in found
            if process.status() != psutil.STATUS_ZOMBIE and command in process.cmdline()
        ]

    def alive(self) -> list[psutil.Process]:
        """Everybody who is still there."""
        return [
            process
            for process in self.family.values()
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        ]


@contextmanager
def running(data: Path, *, workers: int) -> Iterator[Up]:
    """Bring it up for a test, and down whatever happens."""
    up = Up(data, workers=workers)
    try:
        yield up
    finally:
        for process in up.alive():
            process.kill()
        up.process.communicate()


def until(holds: Callable[[], object], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.1)


@pytest.mark.slow
def test_up_answers_restarts_what_dies_and_leaves_nobody_behind(tmp_path: Path) -> None:
    with running(tmp_path / "data", workers=1) as up, Client(up.url, patience=20) as client:
        found = up.addresses()
        assert (found["service"], found["workers"]) == (up.url, 1)
        assert client.studies() == []
        until(client.workers, "the worker registered")
        first = client.workers()[0].id

        (worker,), (service,) = up.children("worker"), up.children("serve")
        worker.kill()
        service.kill()
        until(lambda: up.children("worker") not in ([], [worker]), "another worker")
        until(lambda: up.children("serve") not in ([], [service]), "another service")
        until(client.ready, "the service answers again")
        assert [view.id for view in client.workers()] == [first]

        up.children("worker")
        up.process.send_signal(signal.SIGINT)
        _, told = up.process.communicate(timeout=PATIENCE)
        assert up.process.returncode == 0
        assert "Traceback" not in told
        assert "killed by SIGKILL" in told
        assert told.rstrip().endswith("service ended")
        until(lambda: not up.alive(), "everybody has ended")
        with only_one(up.data):  # FolderTaken if a service were left
            pass


@pytest.mark.slow
def test_children_die_with_their_parent(tmp_path: Path) -> None:
    with running(tmp_path / "data", workers=1) as up:
        up.addresses()
        until(lambda: up.children("worker"), "a worker")
        assert len(up.family) == 4  # itself, the service, its sampler, a worker
        os.kill(up.process.pid, signal.SIGKILL)
        until(lambda: not up.alive(), "everybody has ended")


def test_a_service_that_cannot_start_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service.cli.main", "up", "--data", str(tmp_path)]
    ran = subprocess.run(
        [*command, "--port", "0", "--workers", "0", "--no-mlflow", "--host", "0.0.0.0"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "SRTUNE_TOKEN"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ran.returncode == 1
    assert "the service did not start" in ran.stderr
    assert "there is no token" in ran.stderr
    assert "Traceback" not in ran.stderr
