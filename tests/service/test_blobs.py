"""Stored objects are whole, or not there."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.blobs import Blobs
from service.contract.errors import BlobMismatch, BlobNotFound, StorageFull, TooLarge


def _put(store: Blobs, content: bytes, *, chunk: int = 7) -> str:
    digest = hashlib.sha256(content).hexdigest()
    with store.incoming(digest) as incoming:
        for start in range(0, len(content), chunk):
            incoming.write(content[start : start + chunk])
        blob = incoming.finish()
    assert (blob.sha256, blob.size) == (digest, len(content))
    return digest


def _files(store: Blobs) -> list[Path]:
    return [path for path in store.folder.rglob("*") if path.is_file()]


@given(content=st.binary(max_size=200), chunk=st.integers(1, 50))
def test_what_was_stored_comes_back(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, chunk: int
) -> None:
    store = Blobs(tmp_path_factory.mktemp("store"), limit=1000)
    digest = _put(store, content, chunk=chunk)
    assert store.path(digest).read_bytes() == content
    assert store.path(digest) == store.folder / digest[:2] / digest


def test_other_bytes_than_promised_leave_nothing(blobs: Blobs) -> None:
    def send() -> None:
        with blobs.incoming("0" * 64) as incoming:
            incoming.write(b"something")
            incoming.finish()

    with pytest.raises(BlobMismatch, match="send them again"):
        send()
    assert _files(blobs) == []
    with pytest.raises(BlobNotFound, match="upload it first"):
        blobs.path("0" * 64)


def test_an_upload_that_breaks_off_leaves_nothing(blobs: Blobs) -> None:
    def send() -> None:
        with blobs.incoming("0" * 64) as incoming:
            incoming.write(b"half")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        send()
    assert _files(blobs) == []


def test_the_limit_holds_to_the_byte(tmp_path: Path) -> None:
    store = Blobs(tmp_path, limit=10)
    _put(store, b"0123456789")
    with pytest.raises(TooLarge):
        _put(store, b"0123456789a")
    assert len(_files(store)) == 1


@contextmanager
def _file_size_limit(limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_leaves_nothing(blobs: Blobs) -> None:
    """The kernel's limit on file sizes stands for the full disk: EFBIG instead of ENOSPC."""
    content = os.urandom(100_000)
    with _file_size_limit(20_000), pytest.raises(StorageFull, match="free some space") as error:
        _put(blobs, content, chunk=30_000)
    assert isinstance(error.value.__cause__, OSError)
    assert error.value.__cause__.errno == errno.EFBIG
    assert _files(blobs) == []
    _put(blobs, content, chunk=30_000)


def test_storing_twice_keeps_one(blobs: Blobs) -> None:
    assert _put(blobs, b"same") == _put(blobs, b"same")
    assert len(_files(blobs)) == 1


def test_litter_is_cleared_when_old_and_unwanted(blobs: Blobs) -> None:
    wanted, young, old, kept = (_put(blobs, name) for name in (b"w", b"y", b"o", b"k"))
    hour_ago = time.time() - 3600.0
    for digest in (wanted, old, kept):
        os.utime(blobs.path(digest), (hour_ago, hour_ago))
    blobs.keep(kept)
    abandoned = blobs.folder / "incoming" / "abandoned"
    abandoned.write_bytes(b"half")
    os.utime(abandoned, (hour_ago, hour_ago))
    assert blobs.sweep({wanted}, older_than=60.0) == 2
    assert {digest for digest in (wanted, young, old, kept) if blobs.has(digest)} == {
        wanted, young, kept,
    }  # fmt: skip
