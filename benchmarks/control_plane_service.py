"""Real service processes on a database, as an operator starts them: `srtune serve`, with tokens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from service.cli.listening import free_port

ROOT = Path(__file__).parents[1]
_SRTUNE = [sys.executable, "-m", "service.cli.main"]
_READY_SECONDS = 60.0


@dataclass(frozen=True)
class Running:
    """One service process."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    #: When its process was made, by time.perf_counter.
    begun: float

    def memory(self) -> float:
        """Resident megabytes of the process and its children, pages they share counted once."""
        own = psutil.Process(self.process.pid)
        family = [own, *own.children(recursive=True)]
        return sum(one.memory_full_info().pss for one in family) / 1e6

    def busy(self) -> float:
        """Processor seconds of the process and its children so far."""
        own = psutil.Process(self.process.pid)
        times = [one.cpu_times() for one in [own, *own.children(recursive=True)]]
        return sum(one.user + one.system for one in times)

    def kill(self) -> None:
        """End it as a power cut would, children too."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            child.kill()
        self.process.kill()
        self.process.wait()


def start(data: Path, database: str | None, *, lease_seconds: float = 30.0) -> Running:
    """Start a service on a free port and return at once, before it can answer."""
    data.mkdir(parents=True, exist_ok=True)
    port = free_port("127.0.0.1")
    command = [*_SRTUNE, "serve", "--data", str(data), "--port", str(port), "--no-mlflow"]
    command += [] if database is None else ["--database", database]
    environment = {**os.environ, "SRTUNE_LEASE_SECONDS": str(lease_seconds)}
    told = data / f"service-{port}.log"
    with told.open("w") as log:
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    return Running(process, f"http://127.0.0.1:{port}", told, begun)


def wait_until_ready(service: Running) -> None:
    """Return once it can answer requests that need the database."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if service.process.poll() is not None:
            raise SystemExit(f"the service did not start:\n{service.log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(f"{service.url}/readyz", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.02)
    raise SystemExit(f"{service.url} was not ready in {_READY_SECONDS:.0f} s")


@contextmanager
def serving(
    data: Path, database: str | None, *, replicas: int = 1, lease_seconds: float = 30.0
) -> Iterator[list[Running]]:
    """Ready services on one database; ended by SIGTERM afterwards."""
    running: list[Running] = []
    try:
        while len(running) < replicas:
            service = start(data, database, lease_seconds=lease_seconds)
            running.append(service)
            wait_until_ready(service)
        yield running
    finally:
        for service in running:
            service.process.terminate()
        for service in running:
            service.process.wait(60)


def make_token(data: Path, database: str | None) -> str:
    """A stored token that may submit and work, made as an operator makes it."""
    command = [*_SRTUNE, "token", "create", "--scope", "submit", "--scope", "worker", "--json"]
    command += ["--data", str(data)] + ([] if database is None else ["--database", database])
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    secret: str = json.loads(told.stdout)["token"]
    return secret
