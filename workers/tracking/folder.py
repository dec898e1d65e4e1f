"""How a spool lies on disk, for the process that writes it and the one that carries it away.

<root>/<uid>-<token>/
    journal     one JSON record per line, appended by the owner
    committed   {"offset"}: how far the journal may be shown to the world
    sent        {"offset"}: how far it has been carried to MLflow
    content/    pictures and files the journal names
    owner, carrier   locks: who writes, who carries
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

JOURNAL, CONTENT = "journal", "content"
_COMMITTED, _SENT = "committed", "sent"
OWNER, CARRIER = "owner", "carrier"


def name_of(uid: str, token: int) -> str:
    return f"{uid}-{token}"


def uid_of(folder: Path) -> str:
    """The trial whose pages these are."""
    return folder.name.rpartition("-")[0]


def committed(folder: Path) -> int:
    """Bytes of the journal that the owner lets go out."""
    return _read(folder / _COMMITTED)


def commit(folder: Path, offset: int) -> None:
    _replace(folder / _COMMITTED, offset)


def sent(folder: Path) -> int:
    """Bytes of the journal that have reached MLflow."""
    return _read(folder / _SENT)


def mark_sent(folder: Path, offset: int) -> None:
    _replace(folder / _SENT, offset)


def lock(path: Path) -> int | None:
    """A lock that ends with its process, as a file descriptor; None while somebody else has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Whether the lock was free; it is held inside."""
    descriptor = lock(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _read(path: Path) -> int:
    try:
        return int(json.loads(path.read_bytes())["offset"])
    except FileNotFoundError:
        return 0


def _replace(path: Path, offset: int) -> None:
    """Write all of it or nothing: fsync, then rename."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(json.dumps({"offset": offset}).encode())
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
