"""The one thread of a worker that talks to MLflow."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from service.contract.errors import NotFound, SrtuneError
from service.contract.trial import TrackingRun
from workers.tracking import folder as layout
from workers.tracking.replay import Replay
from workers.tracking.transport import MlflowAway, RunMissing, Transport

logger = logging.getLogger(__name__)

#: Tries after which a run that MLflow does not have is given up; the service makes lost ones again.
_MISSING_TRIES = 8


class Uploader:
    """Carries every spool under `root` to MLflow, also those that killed processes left.

    `resolve(uid)` gives a trial's run, None while it has none yet; it may raise our own errors.
    Several workers of a machine may share `root`: each spool is carried by one of them at a time.
    """

    def __init__(
        self,
        root: Path,
        tracking_uri: str,
        resolve: Callable[[str], TrackingRun | None],
        token: str | None = None,
        *,
        every: float = 1.0,
    ) -> None:
        self.root = root
        self._transport = Transport(tracking_uri, token)
        self._resolve = resolve
        self._every = every
        self._runs: dict[str, str] = {}
        self._missing: dict[str, int] = {}
        self._away = False
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._passed = threading.Condition()
        self._passes, self._pending = 0, True
        self._thread = threading.Thread(target=self._run, name="mlflow-upload", daemon=True)

    def start(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def drain(self, timeout: float) -> bool:
        """Whether everything committed by now reached MLflow within `timeout` seconds."""
        end = time.monotonic() + timeout
        with self._passed:
            # The pass under way may have looked before the last commit.
            needed = self._passes + 2
            while (left := end - time.monotonic()) > 0 and self._thread.is_alive():
                self._wake.set()
                self._passed.wait(min(left, 0.2))
                if self._passes >= needed and not self._pending:
                    return True
        return False

    def stop(self) -> None:
        """End the thread; what is left stays on disk for the next uploader."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=3)

    def _run(self) -> None:
        pause = self._every
        while not self._stopping.is_set():
            pending = self._pass()
            pause = min(pause * 2, 30.0) if self._away else self._every
            with self._passed:
                self._passes, self._pending = self._passes + 1, pending
                self._passed.notify_all()
            # Draining asks at once, again and again, but not faster than MLflow can fail.
            if self._away:
                self._stopping.wait(min(pause, 1.0) if self._wake.is_set() else pause)
            else:
                self._wake.wait(pause)
            self._wake.clear()

    def _pass(self) -> bool:
        """Carry what can be carried; whether anything committed is left."""
        pending = False
        for folder in sorted(self.root.iterdir()):
            if folder.name.startswith(".") or folder.name == "dead" or not folder.is_dir():
                continue
            if self._stopping.is_set():
                return True
            try:
                with layout.locked(folder / layout.CARRIER) as mine:
                    pending |= not mine or self._carry(folder)
            except FileNotFoundError:
                continue  # another worker has just finished it
            except MlflowAway as error:
                self._note_away(str(error))
                return True
            except OSError as error:
                logger.warning("the spool %s cannot be read now: %s", folder.name, error)
                pending = True
        return pending

    def _carry(self, folder: Path) -> bool:
        """Whether committed records of this spool are left; removes it when all is said."""
        committed = layout.committed(folder)
        if layout.sent(folder) < committed:
            uid = layout.uid_of(folder)
            run_id = self._run_of(uid, folder)
            if run_id is None:
                return folder.exists()
            try:
                Replay(self._transport, folder, run_id, self.root / "dead").run(committed)
            except RunMissing as error:
                return self._run_is_missing(folder, uid, error)
            self._note_back(folder)
        return _left_after_owner(folder)

    def _run_of(self, uid: str, folder: Path) -> str | None:
        if uid not in self._runs:
            try:
                found = self._resolve(uid)
            except NotFound:
                logger.info("trial %s was deleted, and its curves with it", uid)
                shutil.rmtree(folder)
                return None
            except SrtuneError as error:
                raise MlflowAway(f"the service does not name the run of {uid}: {error}") from error
            if found is None:
                return None
            self._runs[uid] = found.run_id
        return self._runs[uid]

    def _run_is_missing(self, folder: Path, uid: str, error: RunMissing) -> bool:
        self._runs.pop(uid, None)
        self._missing[uid] = self._missing.get(uid, 0) + 1
        if self._missing[uid] < _MISSING_TRIES:
            return True
        logger.error("no run of trial %s takes its curves, they are kept: %s", uid, error)
        dead = self.root / "dead"
        dead.mkdir(exist_ok=True)
        folder.rename(dead / f"{folder.name}.{time.time_ns()}")
        return False

    def _note_away(self, sentence: str) -> None:
        if not self._away:
            logger.warning("curves wait on disk: %s", sentence)
        self._away = True

    def _note_back(self, folder: Path) -> None:
        if self._away:
            logger.info("curves reach MLflow again, beginning with %s", folder.name)
        self._away = False


def _left_after_owner(folder: Path) -> bool:
    """Whether committed records are left; a spool nobody writes to any more is removed with its end."""
    # The lock is kept while removing, so that no owner comes back in between.
    with layout.locked(folder / layout.OWNER) as orphan:
        left = layout.sent(folder) < layout.committed(folder)
        if orphan and not left:
            shutil.rmtree(folder)
    return left
