"""Children that do not outlive the terminal that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Annotated

import typer

Parent = Annotated[
    int | None,
    typer.Option("--parent", hidden=True, help="Process whose end ends this one (srtune up)."),
]
_PR_SET_PDEATHSIG = 1


def die_with(parent: int | None) -> None:
    """Get SIGTERM when the parent dies, however it dies; Linux only, elsewhere nothing.

    The child asks for it itself: the alternative, `preexec_fn`, may deadlock in a parent with
    threads.
    """
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(0)
