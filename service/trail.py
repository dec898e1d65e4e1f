"""What the running code is about: the ids that belong into every line it logs.

>>> with on(study="s1", trial="s1-7"):
...     logger.info("lease lapsed")  # ... lease lapsed study=s1 trial=s1-7
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_NOTHING: Mapping[str, object] = MappingProxyType({})
_trail: ContextVar[dict[str, object] | None] = ContextVar("srtune.trail", default=None)


@contextmanager
def on(**fields: object) -> Iterator[None]:
    """Be about this, besides what we are about already; threads begin about nothing."""
    token = _trail.set({**fields_now(), **fields})
    try:
        yield
    finally:
        _trail.reset(token)


def note(**fields: object) -> None:
    """Add what was found out on the way, for the rest of the block; nothing outside of one.

    Whoever runs in a copy of the context (a thread that works for a request) adds for all.
    """
    trail = _trail.get()
    if trail is not None:
        trail.update(fields)


def fields_now() -> Mapping[str, object]:
    """What the running code is about, in the order it was said."""
    return _trail.get() or _NOTHING
