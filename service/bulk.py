"""Many rows in one statement: a statement has a price of its own, on both sides of the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any, cast

from sqlalchemy import JSON, Insert, Table, bindparam, column, func, insert, select
from sqlalchemy.orm import Session

from service.db import Row, at_end

_LATE = "srtune.late"


def insert_late(session: Session, model: type[Row], row: dict[str, Any]) -> None:
    """Insert a row just before the commit, in one statement with all others of its table."""
    late: dict[type[Row], list[dict[str, Any]]] = session.info.setdefault(_LATE, {})
    if model not in late:
        late[model] = []
        at_end(
            session,
            f"insert {model.__tablename__}",
            partial(insert_all, session, model, late[model]),
        )
    late[model].append(row)


def insert_all(session: Session, model: type[Row], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that name the same columns; values as JSON has them.

    PostgreSQL unpacks one JSON text, whose statement it has prepared, whatever the number of rows;
    SQLite is in this process, where a statement costs next to nothing.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_unpacked(_table(model), tuple(rows[0])), {"rows": rows})
    else:
        session.execute(insert(_table(model)), [dict(row) for row in rows])


@cache
def _unpacked(table: Table, names: tuple[str, ...]) -> Insert:
    columns = [column(name, table.columns[name].type) for name in names]
    given = func.json_to_recordset(bindparam("rows", type_=JSON)).table_valued(*columns)
    unpacked = given.render_derived(name="given", with_types=True)
    return insert(table).from_select(names, select(*(unpacked.c[name] for name in names)))


def _table(model: type[Row]) -> Table:
    return cast(Table, model.__table__)
