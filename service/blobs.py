"""Checkpoints and weights on the service's disk, named by the SHA-256 of their bytes."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from service.contract.errors import BlobMismatch, BlobNotFound, StorageFull, TooLarge
from service.contract.trial import Blob

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Blobs:
    """A folder of immutable objects: `ab/abcdef...`.

    An object is there whole or not at all, and survives a power cut once `finish` returned.
    """

    def __init__(self, folder: Path, *, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    def path(self, sha256: str) -> Path:
        """Where the object lies; BlobNotFound if it is not stored."""
        path = self._place(sha256)
        if not path.is_file():
            raise BlobNotFound(f"no stored object has the digest {sha256}; upload it first")
        return path

    def has(self, sha256: str) -> bool:
        return self._place(sha256).is_file()

    def keep(self, sha256: str) -> None:
        """Count the object as new, so that `sweep` spares it until it is referred to."""
        self.path(sha256).touch()

    def remove(self, sha256: str, *, untouched: float = 0.0) -> None:
        """Remove an object, unless somebody stored it or asked for it within these seconds."""
        place = self._place(sha256)
        with suppress(FileNotFoundError):
            if time.time() - place.stat().st_mtime >= untouched:
                place.unlink()

    @contextmanager
    def incoming(self, sha256: str) -> Iterator[Incoming]:
        """An upload under way; what is not finished when the block ends leaves nothing behind."""
        partial = self.folder / "incoming" / f"{sha256[:16]}-{secrets.token_hex(8)}"
        with _room(self.folder):
            partial.parent.mkdir(parents=True, exist_ok=True)
            file = partial.open("wb")
        try:
            with file:
                yield Incoming(file, self._place(sha256), limit=self.limit)
        finally:
            partial.unlink(missing_ok=True)

    def sweep(self, wanted: set[str], *, older_than: float) -> int:
        """Remove objects nobody refers to, unless younger than so many seconds; how many went."""
        before, gone = time.time() - older_than, 0
        for path in self._files():
            if path.name not in wanted and path.stat().st_mtime < before:
                path.unlink(missing_ok=True)
                gone += 1
        return gone

    def _files(self) -> Iterator[Path]:
        # What a killed service left in `incoming` is in nobody's list, so it goes too.
        yield from (path for path in self.folder.glob("*/*") if path.is_file())

    def _place(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256


class Incoming:
    """Takes the bytes of one object, then puts it in its place."""

    def __init__(self, file: BinaryIO, place: Path, *, limit: int) -> None:
        self._file, self._place, self._limit = file, place, limit
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, chunk: bytes) -> None:
        """Take more bytes; TooLarge or StorageFull."""
        self._size += len(chunk)
        if self._size > self._limit:
            raise TooLarge(
                f"the object is larger than {self._limit} bytes; raise SRTUNE_MAX_BLOB or send less"
            )
        self._digest.update(chunk)
        with _room(self._place.parent):
            self._file.write(chunk)

    def finish(self) -> Blob:
        """Put the object in its place for good; BlobMismatch if these are other bytes."""
        found, promised = self._digest.hexdigest(), self._place.name
        if found != promised:
            raise BlobMismatch(
                f"the bytes have the digest {found}, not {promised}; send them again"
            )
        with _room(self._place.parent):
            self._file.flush()
            os.fsync(self._file.fileno())
            shelf = self._place.parent
            is_new = not shelf.is_dir()
            shelf.mkdir(parents=True, exist_ok=True)
            Path(self._file.name).replace(self._place)
            _sync_folder(shelf)
            if is_new:
                _sync_folder(shelf.parent)
        return Blob(sha256=found, size=self._size)


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    """A full disk is `StorageFull`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"no room left under {folder}; free some space there") from error
        raise


def _sync_folder(folder: Path) -> None:
    """Make a rename in this folder last through a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
