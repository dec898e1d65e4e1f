"""MLflow's own server as a supervised child on a private unix socket.

One process instead of the fifteen of `mlflow server`: no job runners, no telemetry, a connection
pool that cannot starve itself. It dies with us, is started again when it dies, and nobody waits
for it: starting takes seconds, so all of that happens in a thread.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Literal

import httpx2

from service.contract.errors import Unavailable
from service.tracking.schema import analyze, make_schema, upgrade_if_old
from service.tracking.unix import UnixTransport

logger = logging.getLogger(__name__)

State = Literal["starting", "ready", "away"]

#: Linux refuses longer unix socket paths (108 bytes with the closing zero).
_LONGEST_SOCKET = 107
_START_SECONDS = 120.0
_CHECK_SECONDS = 2.0
#: The service itself has five seconds to end; what MLflow had not stored comes again.
_END_SECONDS = 2.0
_ANALYZE_SECONDS = 3600.0
_LOG_BYTES = 4 << 20

# PDEATHSIG is set in the child itself, because a preexec_fn may deadlock in a process with threads.
_LAUNCH = """
import ctypes, os, runpy, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv.pop(1)):
    sys.exit("the parent is gone")
runpy.run_module("uvicorn", run_name="__main__", alter_sys=True)
"""


class MlflowServer:
    """MLflow over `folder`, or over schema `mlflow` of a PostgreSQL database.

    `socket` is where it listens. `start` and `stop` may be called once each; `start` returns at
    once. `database_url` is SQLAlchemy's; without it MLflow keeps `folder/mlflow.db`.
    """

    def __init__(self, folder: Path, database_url: str | None = None) -> None:
        self.folder = folder
        self.database_url = database_url or f"sqlite:///{folder / 'mlflow.db'}"
        self.pid: int | None = None
        self._state: State = "starting"
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._analyze = threading.Event()
        # PDEATHSIG fires when the thread that made the child ends, so this one lives as long.
        self._thread = threading.Thread(target=self._supervise, name="mlflow", daemon=True)
        folder.mkdir(parents=True, exist_ok=True)
        self._sockets = _socket_folder(folder)
        self.socket = self._sockets / "mlflow.sock"

    @property
    def status(self) -> State:
        """`starting` until the first answer, then `ready`, or `away` until it answers again."""
        return self._state

    def start(self) -> None:
        self._thread.start()

    def analyze_soon(self) -> None:
        """Refresh SQLite's statistics: without them charts of many runs are twenty times slower."""
        self._analyze.set()

    def wait_ready(self, timeout: float) -> bool:
        """Whether MLflow answers within `timeout` seconds."""
        end = time.monotonic() + timeout
        while self._state != "ready" and time.monotonic() < end:
            time.sleep(0.05)
        return self._state == "ready"

    def stop(self) -> None:
        """End the child and wait for it."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)
        if self._sockets.parent != self.folder:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _supervise(self) -> None:
        pause = 0.5
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                make_schema(self.database_url)
                upgrade_if_old(self.database_url, self._environment())
                self._spawn()
                self._watch()
            except (Unavailable, OSError) as error:
                logger.warning("MLflow cannot start: %s", error)
            finally:
                self._end_child()
                self._state = "away" if self._state == "ready" else self._state
            pause = 0.5 if time.monotonic() - began > 60 else min(pause * 2, 30.0)
            if not self._stopping.wait(pause):
                logger.warning("starting MLflow again", extra={"log": str(self._log)})

    def _spawn(self) -> None:
        self.socket.unlink(missing_ok=True)
        command = [sys.executable, "-P", "-c", _LAUNCH, str(os.getpid()), "--uds", str(self.socket)]
        command += ["--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "1"]
        if self._log.exists() and self._log.stat().st_size > _LOG_BYTES:
            self._log.replace(self._log.with_suffix(".old.log"))
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                [*command, "mlflow.server.fastapi_app:app"],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.pid = self._child.pid

    def _watch(self) -> None:
        """Return when the child has died or has not answered for long."""
        now = last_answer = last_analyze = time.monotonic()
        patience, answered = _START_SECONDS, False
        transport = UnixTransport(str(self.socket))
        with httpx2.Client(
            transport=transport, base_url="http://localhost", timeout=20.0
        ) as client:
            while self._child is not None and self._child.poll() is None:
                now = time.monotonic()
                if not answered or now - last_answer > _CHECK_SECONDS:
                    if self._answers(client, first=not answered):
                        self._state, last_answer, patience, answered = "ready", now, 60.0, True
                    elif now - last_answer > patience:
                        logger.warning("MLflow has not answered for %.0f s", patience)
                        return
                if self._analyze.is_set() or now - last_analyze > _ANALYZE_SECONDS:
                    self._analyze.clear()
                    last_analyze = now
                    analyze(self.database_url)
                if self._stopping.wait(0.1):
                    return

    def _answers(self, client: httpx2.Client, *, first: bool) -> bool:
        # /health answers before the store is opened; the first question must reach the database,
        # so that `ready` also proves that the private settings below were understood.
        try:
            return client.get(_FIRST_QUESTION if first else "/health").status_code == 200
        except httpx2.TransportError:
            return False

    def _end_child(self) -> None:
        child, self._child, self.pid = self._child, None, None
        if child is None or child.poll() is not None:
            return
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    @property
    def _log(self) -> Path:
        return self.folder / "mlflow.log"

    def _environment(self) -> dict[str, str]:
        # Our own settings hold secrets that are none of MLflow's business.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SRTUNE_", "MLFLOW"))}
        return inherited | {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            # log_batch holds one connection while it asks for another: with fewer than two per
            # server thread (40) it waits for itself until it fails.
            "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "40",
            "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "60",
            "_MLFLOW_SERVER_FILE_STORE": self.database_url,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(self.folder / "artifacts"),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "PYTHONWARNINGS": "ignore",
        }


_FIRST_QUESTION = "/api/2.0/mlflow/experiments/search?max_results=1"


def _socket_folder(folder: Path) -> Path:
    """A folder only we can enter, because uvicorn lets everybody use its socket."""
    inside = folder / "socket"
    if len(os.fsencode(inside / "mlflow.sock")) > _LONGEST_SOCKET:
        return Path(tempfile.mkdtemp(prefix="srtune-"))
    inside.mkdir(mode=0o700, exist_ok=True)
    inside.chmod(0o700)
    return inside
