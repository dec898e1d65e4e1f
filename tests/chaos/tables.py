"""All rows of a database, as plain dictionaries that can be written down and checked later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from service.db import Database, Row
from service.models import Attempt, Report, Study, Trial, Worker

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Tables:
    """What the database says once the run is over."""

    studies: Rows = field(default_factory=list)
    trials: Rows = field(default_factory=list)
    attempts: Rows = field(default_factory=list)
    reports: Rows = field(default_factory=list)
    workers: Rows = field(default_factory=list)
    #: Digests of the stored objects.
    blobs: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Tables:
        return cls(**json.loads(path.read_text()))


def dump(database: Database, blobs: Path) -> Tables:
    """Every row the checker asks about, in one consistent view."""
    with database.reading() as session:

        def rows(table: type[Row]) -> Rows:
            return [_plain(row) for row in session.scalars(select(table)).all()]

        return Tables(
            studies=rows(Study),
            trials=rows(Trial),
            attempts=rows(Attempt),
            reports=rows(Report),
            workers=rows(Worker),
            blobs=_stored([blobs]),
        )


def _plain(row: Row) -> dict[str, Any]:
    # Through JSON: enums become their words, as in the history.
    values = {column.key: getattr(row, column.key) for column in row.__mapper__.column_attrs}
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def _stored(folders: Sequence[Path]) -> list[str]:
    return sorted(path.name for folder in folders for path in folder.glob("??/*"))
