"""Wrong clocks: libfaketime in front of a process, with an offset that may jump while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
)
OFFSETS = ("-3h", "+2d", "-10m", "+10m", "+0")
MISSING = "libfaketime is not installed (Debian: apt install libfaketime)"


@dataclass(frozen=True)
class WrongClock:
    """A clock in a file; `jump` changes it under the processes that read it."""

    library: Path
    file: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            # Read again every so many seconds, not at every look at the clock.
            "FAKETIME_CACHE_DURATION": "2",
            # Only the time of day is wrong: the history's clock is everybody's.
            "DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, offset: str) -> None:
        partial = self.file.with_suffix(".part")
        partial.write_text(offset)
        partial.replace(self.file)


def wrong_clock(file: Path, offset: str) -> WrongClock | None:
    """A clock that is wrong by `offset`; None where libfaketime is missing."""
    found = next((Path(path) for path in _LIBRARIES if Path(path).exists()), None)
    if found is None:
        return None
    clock = WrongClock(found, file)
    clock.jump(offset)
    return clock
