"""A small disk of our own, with a real file system on it, that can be filled and emptied."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Volume:
    """A folder; `small` says that it is a disk of its own, which `fill` may fill."""

    folder: Path
    small: bool
    #: Why it is not.
    reason: str = ""

    @property
    def _balloon(self) -> Path:
        return self.folder / "balloon"

    def fill(self) -> None:
        """Leave no byte free."""
        with self._balloon.open("ab", buffering=0) as balloon:
            for block in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        size = self._balloon.stat().st_size
                        os.posix_fallocate(balloon.fileno(), size, block)

    def free(self) -> None:
        self._balloon.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[Volume]:
    """A disk of so many megabytes mounted on `folder`; an ordinary folder where we may not mount.

    ext4 in a file, so that fsync means something; tmpfs where there is no loop device.
    """
    folder.mkdir(parents=True)
    image = folder.with_suffix(".img")
    if os.geteuid() != 0:
        yield Volume(folder, small=False, reason="mounting a small disk needs root")
        return
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    made = _did("mkfs.ext4", "-q", "-m", "0", str(image))
    if not made or not _did("mount", "-o", "loop", str(image), str(folder)):
        tmpfs = ("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
        if not _did(*tmpfs):
            yield Volume(folder, small=False, reason="neither a loop device nor tmpfs to be had")
            return
    try:
        # PostgreSQL runs as another user.
        folder.chmod(0o755)
        yield Volume(folder, small=True)
    finally:
        # Lazily: a process that was just killed may still be on its way out.
        _did("umount", "--lazy", str(folder))
        image.unlink(missing_ok=True)


def _did(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
