"""What a training has to say, on disk at once and never waiting for anybody.

Points carry the time of their birth, so sending one twice adds nothing. They are held back until
`commit`, which follows a report the service has accepted: when an attempt is killed, the next one
repeats the steps since that report, and those of the first attempt must never be shown.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from workers.tracking import folder as layout

logger = logging.getLogger(__name__)

_LOCK_SECONDS = 2.0

_KEY = re.compile(r"[A-Za-z0-9_\-./ ]+")


class Spool:
    """The spool of one attempt: `root/<uid>-<token>/`, owned by this process.

    Never raises for a disk that is full or broken: points are dropped, and the log says so once.
    Opened again, it goes on after its last commit. Safe to use from several threads.
    """

    def __init__(self, root: Path, uid: str, token: int) -> None:
        self.folder = root / layout.name_of(uid, token)
        self._lock = threading.Lock()
        self._journal = self._owner = -1
        self._size = self._committed = self._contents = 0
        self._complained = self._closed = False
        try:
            self._open(root)
        except OSError as error:
            self._complain(error)
            self._end()

    def metrics(self, values: Mapping[str, float], step: int, *, at: float | None = None) -> None:
        """Add one point per key, born at `at` (Unix seconds; now).

        Values that are not finite would wreck the axes and are dropped.
        """
        finite = {key: float(value) for key, value in values.items() if math.isfinite(value)}
        if finite:
            self._append({"metrics": finite, "step": step}, at=at)

    def image(self, key: str, step: int, png: bytes) -> None:
        """Add a picture to the grid; log every key at the same steps, or the grid shows holes."""
        if not _KEY.fullmatch(key):
            raise ValueError(f"image key {key!r} has other characters than letters, digits, _-./")
        self._append({"image": key, "step": step}, png)

    def file(self, name: str, source: bytes | Path) -> None:
        """Add a file at `name`, a path in the run, in place of an older one; a Path is copied."""
        self._append({"file": name}, source)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the run."""
        self._append({"tags": dict(values)})

    def mark(self) -> int:
        """Where the spool is now, for a `commit` of what came before."""
        return self._size

    def commit(self, mark: int | None = None) -> None:
        """Everything up to `mark` (default: so far) may be shown: the service has accepted it."""
        with self._lock:
            offset = self._size if mark is None else min(mark, self._size)
            if self._closed or offset <= self._committed:
                return
            try:
                os.fsync(self._journal)
                layout.commit(self.folder, offset)
                self._committed = offset
            except OSError as error:
                self._complain(error)

    def rollback(self) -> None:
        """Drop what came since the last commit."""
        with self._lock:
            if not self._closed:
                self._cut(self._committed)

    def close(self) -> None:
        """Nothing more will come; what was not committed is dropped."""
        with self._lock:
            if not self._closed:
                self._cut(self._committed)
            if not self._closed:
                self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self, root: Path) -> None:
        owner = self._take()
        self._owner = self._create(root) if owner is None else owner
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._journal = os.open(self.folder / layout.JOURNAL, flags, 0o600)
        self._size = self._committed = layout.committed(self.folder)
        os.ftruncate(self._journal, self._committed)
        self._contents = time.time_ns()

    def _take(self) -> int | None:
        """The owner's lock of a spool that is there already; None if there is none."""
        end = time.monotonic() + _LOCK_SECONDS
        while self.folder.exists():
            try:
                owner = layout.lock(self.folder / layout.OWNER)
            except FileNotFoundError:
                return None
            if owner is not None and self.folder.exists():
                return owner
            if time.monotonic() > end:
                raise BlockingIOError(f"{self.folder} is being written by another process")
            # A carrier that looks whether we live has it for a moment.
            time.sleep(0.01)
        return None

    def _create(self, root: Path) -> int:
        # Locked before it has its name: a carrier takes a spool without owner for a dead one's.
        hidden = root / f".{self.folder.name}.{os.getpid()}"
        shutil.rmtree(hidden, ignore_errors=True)
        (hidden / layout.CONTENT).mkdir(parents=True)
        owner = layout.lock(hidden / layout.OWNER)
        if owner is None:
            raise BlockingIOError(f"{hidden} is being written by another process")
        hidden.rename(self.folder)
        return owner

    def _append(
        self,
        record: dict[str, Any],
        content: bytes | Path | None = None,
        at: float | None = None,
    ) -> None:
        record["time"] = round((time.time() if at is None else at) * 1000)
        with self._lock:
            if self._closed:
                return
            try:
                if content is not None:
                    record["content"] = self._store(content)
                line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
                written = os.write(self._journal, line)
            except OSError as error:
                self._complain(error)
                self._cut(self._size)
                return
            if written == len(line):
                self._size += written
            else:
                # A half-written record must not precede the next one.
                self._complain(OSError("the disk took only a part of a record"))
                self._cut(self._size)

    def _store(self, content: bytes | Path) -> str:
        self._contents += 1
        name = f"{self._contents:x}"
        target = self.folder / layout.CONTENT / name
        try:
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content)
        except OSError:
            target.unlink(missing_ok=True)
            raise
        return name

    def _cut(self, size: int) -> None:
        try:
            os.ftruncate(self._journal, size)
            self._size = size
        except OSError as error:
            self._complain(error)
            self._end()

    def _end(self) -> None:
        self._closed = True
        for descriptor in (self._journal, self._owner):
            if descriptor >= 0:
                os.close(descriptor)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            logger.error("the curves of %s have gaps: %s", self.folder.name, error)
