"""The real processes of a run: started, killed, stopped, and kept running as systemd would.

All are children of the thread that made the `Keeper` and die with it, however it dies.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: SIGKILL for whoever outlives the thread that started it.
_LEASH = ("setpriv", "--pdeathsig", "KILL")
#: Who lived no longer than this could not start.
_AT_ONCE = 2.0


def possible() -> str:
    """Why real processes cannot be kept here; empty when they can."""
    return "" if shutil.which("setpriv") else "setpriv (util-linux) is not on the PATH"


@dataclass
class Kept:
    """A command that is to run until told otherwise."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Before the command: another user, another clock, another network.
    inside: Sequence[str] = ()
    #: Seconds before a dead one is started again; longer for one that dies at once.
    again: float = 0.3
    wanted: bool = True
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    died: float = 0.0
    exits: list[int] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        self.started = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*_LEASH, *self.inside, *self.command],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONFAULTHANDLER": "1", **self.environment},
                # A group of its own, so that its children can be ended with it.
                start_new_session=True,
            )

    def signal(self, number: signal.Signals, *, group: bool = False) -> bool:
        """Send a signal; False if it does not run."""
        if self.process is None or not self.alive:
            return False
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return True

    def end(self) -> None:
        """Kill it and all of its children, and wait."""
        self.wanted = False
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


class Keeper:
    """Keeps processes running; `tend` is called again and again."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []

    def keep(self, kept: Kept) -> Kept:
        kept.start()
        self.kept.append(kept)
        return kept

    def tend(self) -> list[Kept]:
        """Start again who died and is wanted; who was found dead."""
        found = []
        for kept in self.kept:
            if kept.process is None or kept.alive or not kept.wanted:
                continue
            now = time.monotonic()
            if not kept.died:
                kept.died = now
                kept.exits.append(kept.process.wait())
                found.append(kept)
            pause = kept.again if kept.died - kept.started > _AT_ONCE else 5 * kept.again
            if now - kept.died >= pause:
                kept.died = 0.0
                kept.start()
        return found

    def end(self) -> None:
        for kept in reversed(self.kept):
            kept.end()
