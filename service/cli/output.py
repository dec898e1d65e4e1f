"""Where commands write: answers to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: Columns of a table that goes to a file or a pipe, where no terminal says how wide it is.
_PIPE_WIDTH = 160


def console(*, stderr: bool = False) -> Console:
    """Rich's console, wide enough in a pipe that no cell is cut."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    # Reasons and paths are shown as they are: `[Errno 2]` is no markup and `:x:` no emoji.
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def answer(value: object, shown: RenderableType, *, as_json: bool) -> None:
    """The one answer of a command: the value as JSON, or what people read."""
    if as_json:
        sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    else:
        screen = console()
        # A terminal too narrow for a table breaks its lines; Rich would cut figures off.
        screen.width = max(screen.width, screen.measure(shown).minimum)
        screen.print(shown)


def note(text: str) -> None:
    """A line for people that is not the answer."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def plain(value: object) -> Any:
    """Models, and lists and dicts of models, as what JSON knows."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def duration(seconds: float | None) -> str:
    """`3 h 05 min`, `4 min 10 s`, `12 s`; a dash when unknown."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {secs:02d} s" if minutes else f"{secs} s"


def number(value: float | None) -> str:
    """Four significant digits, short; a dash for none."""
    return "–" if value is None else f"{value:.4g}"
