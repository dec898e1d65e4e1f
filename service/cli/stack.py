"""A service and local workers as supervised child processes of one terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from service.cli.errors import StackFailed
from service.cli.listening import free_port, listen
from service.client import Client

#: Seconds between looks at the children.
_LOOK = 0.1
_LONGEST_PAUSE = 30.0
#: A child that lived this long is not in a crash loop.
_HEALTHY = 60.0


@dataclass(frozen=True)
class Plan:
    """What a stack consists of."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 0  #: 0: a free one, chosen once
    devices: tuple[str, ...] = ("cpu",)  #: one worker each
    threads: int = 1
    slots: int = 1
    token: str | None = None
    mlflow: bool | None = None
    database: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    drain_seconds: float = 30.0
    ready_seconds: float = 120.0


@dataclass
class _Child:
    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    log: IO[bytes] | None = None
    born: float = 0.0
    due: float = 0.0
    pause: float = 0.5


class Stack:
    """Starts the children, restarts those that die, and ends them in good order.

    A context manager: inside it the service answers at `url`. Workers end before the service, so
    that they can hand back what they train. Children die with this process, even by SIGKILL.
    """

    def __init__(self, plan: Plan, *, tell: Callable[[str], None]) -> None:
        self.plan = plan
        self.tell = tell
        self.logs = plan.data / "logs"
        if plan.port:
            listen(plan.host, plan.port).close()  # PortTaken here, not in a child's log
        self.port = plan.port or free_port(plan.host)
        host = "127.0.0.1" if plan.host in ("0.0.0.0", "::") else plan.host  # nosec B104  # compared
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._service = _Child("service", self._serve_command())
        self._workers = [
            _Child(f"worker-{index}", self._worker_command(index, device))
            for index, device in enumerate(plan.devices)
        ]
        self._ready, self._ending, self._hurry = (threading.Event() for _ in range(3))
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._run, name="stack")

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the workers, then the service; Ctrl-C while waiting kills them at once."""
        self._ending.set()
        while self._thread.is_alive():
            try:
                self._thread.join(_LOOK)
            except KeyboardInterrupt:
                self._hurry.set()

    def pids(self) -> dict[str, int]:
        """Process ids of the children that run now."""
        return {
            child.name: child.process.pid
            for child in (self._service, *self._workers)
            if child.process is not None and child.process.poll() is None
        }

    # -- in the supervising thread: a child gets its parent-death signal when *this thread* ends --

    def _run(self) -> None:
        try:
            self._start(self._service)
            while not self._ending.wait(_LOOK):
                self._look_after(self._service)
                if self._ready.is_set():
                    for worker in self._workers:
                        self._look_after(worker)
        finally:
            self._end(self._workers, patience=self.plan.drain_seconds)
            self._end([self._service], patience=15.0)

    def _look_after(self, child: _Child) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.due:
                self._start(child)
        elif (code := child.process.poll()) is not None:
            if child is self._service and not self._ready.is_set():
                self._failure = self._last_line(child) or f"it ended with code {code}"
                return
            child.pause = (
                0.5 if now - child.born > _HEALTHY else min(2 * child.pause, _LONGEST_PAUSE)
            )
            self.tell(
                f"{child.name} ended ({_cause(code)}); again in {child.pause:.0f} s; "
                f"see {self._log_path(child)}"
            )
            child.process, child.due = None, now + child.pause

    def _start(self, child: _Child) -> None:
        child.log = child.log or self._log_path(child).open("ab")
        child.process = subprocess.Popen(
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=child.log,
            stderr=child.log,
            env=self._environment(child),
            # Ctrl-C reaches the whole foreground group; the children are told by us, in order.
            start_new_session=True,
        )
        child.born = time.monotonic()
        self.tell(f"{child.name} started (process {child.process.pid})")

    def _end(self, children: list[_Child], *, patience: float) -> None:
        running = [child for child in children if child.process and child.process.poll() is None]
        for child in running:
            _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + patience
        while any(child.process and child.process.poll() is None for child in running):
            if self._hurry.is_set() or time.monotonic() > deadline:
                for child in running:
                    _signal(child, signal.SIGKILL)
            time.sleep(_LOOK)
        for child in children:
            if child.process is not None:
                child.process.wait()
            if child.log is not None:
                child.log.close()
        if running:
            self.tell(f"{' and '.join(child.name for child in running)} ended")

    # -- what the children are ----------------------------------------------------------------

    def _serve_command(self) -> list[str]:
        plan = self.plan
        command = [*_srtune("serve"), "--data", str(plan.data), "--host", plan.host]
        command += ["--port", str(self.port)]
        if plan.mlflow is not None:
            command += ["--mlflow" if plan.mlflow else "--no-mlflow"]
        return command

    def _worker_command(self, index: int, device: str) -> list[str]:
        folder = self.plan.data / "workers" / str(index)
        # The name is kept over restarts, so that the service knows a restarted worker again.
        return [
            *_srtune("worker"),
            *("--server", self.url, "--device", device, "--slots", str(self.plan.slots)),
            *("--threads", str(self.plan.threads), "--folder", str(folder)),
            *("--name", f"{os.uname().nodename}/{index}"),
        ]

    def _environment(self, child: _Child) -> dict[str, str]:
        # Not as arguments, which everybody on the machine can read; and no database for workers.
        inherited = {name: value for name, value in os.environ.items() if name != "SRTUNE_DATABASE"}
        database = self.plan.database if child is self._service else None
        secrets = {"SRTUNE_TOKEN": self.plan.token, "SRTUNE_DATABASE": database}
        given = {name: value for name, value in secrets.items() if value}
        return {**inherited, "PYTHONUNBUFFERED": "1", **given, **self.plan.environment}

    def _log_path(self, child: _Child) -> Path:
        return self.logs / f"{child.name}.log"

    def _last_line(self, child: _Child) -> str:
        lines = self._log_path(child).read_text(errors="replace").splitlines()
        return lines[-1] if lines else ""

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.plan.ready_seconds
        with Client(self.url, token=self.plan.token, patience=0, timeout=5) as client:
            while not client.ready():
                if self._failure is not None:
                    raise StackFailed(f"the service did not start: {self._failure}")
                if time.monotonic() > deadline:
                    raise StackFailed(
                        f"the service was not ready after {self.plan.ready_seconds:.0f} s; "
                        f"see {self._log_path(self._service)}"
                    )
                time.sleep(_LOOK)
        self._ready.set()


def _srtune(command: str) -> list[str]:
    return [sys.executable, "-m", "service.cli.main", command, "--parent", str(os.getpid())]


def _signal(child: _Child, number: int) -> None:
    if child.process is not None and child.process.poll() is None:
        child.process.send_signal(number)


def _cause(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"code {code}"
