"""The database behind a data folder, for commands that work without the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.db import Database


@contextmanager
def opened(data: Path | None, url: str | None) -> Iterator[Database]:
    """The service's database, which may be running or may never have run yet."""
    from service.cli.serve import settings_from
    from service.db import Database
    from service.schema import upgrade

    settings = settings_from(data=data, database=url)
    if settings.database is None:
        settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    try:
        upgrade(database)
        yield database
    finally:
        database.close()


def when(seconds: float | None) -> str:
    """A time as people read it, by the clock on their wall; a dash for never."""
    import time

    return "–" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
