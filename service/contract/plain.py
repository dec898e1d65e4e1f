"""What a definition may hold so that JSON, the databases and the workers carry it unchanged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from service.contract.errors import Problem

#: Parts inside of parts; parsers give up at different depths, the first at about 200.
_DEEPEST = 32
_LARGEST = 2**63


def unwritable(raw: Any, path: str = "", depth: int = 0) -> Iterator[Problem]:
    """Yield every number without an end or a place in 64 bits, every text that is none."""
    if depth > _DEEPEST:
        yield Problem(path=path, message=f"parts lie deeper than {_DEEPEST}; make them flat")
    elif isinstance(raw, Mapping):
        for name, value in raw.items():
            shown = ascii(name)[1:-1] if isinstance(name, str) and not _is_text(name) else name
            inner = f"{path}.{shown}" if path else str(shown)
            if shown is not name:
                yield Problem(path=inner, message="the name holds what is no text; write another")
            yield from unwritable(value, inner, depth + 1)
    elif isinstance(raw, (list, tuple)):
        for index, value in enumerate(raw):
            yield from unwritable(value, f"{path}[{index}]", depth + 1)
    elif isinstance(raw, str) and not _is_text(raw):
        message = "it holds NUL or half a surrogate pair; remove it"
        yield Problem(path=path, value=ascii(raw), message=message)
    elif isinstance(raw, float) and not math.isfinite(raw):
        yield Problem(path=path, value=str(raw), message=f"{raw} is no number to work with")
    elif isinstance(raw, int) and abs(raw) > _LARGEST:
        yield Problem(path=path, message="the number does not fit into 64 bits; use a smaller one")


def _is_text(text: str) -> bool:
    try:
        return "\0" not in text and bool(text.encode() or True)
    except UnicodeEncodeError:
        return False
