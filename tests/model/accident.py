"""A database that goes away in the middle of a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError


class Accident:
    """Breaks one transaction, once: before its n-th statement, or around its commit."""

    def __init__(self) -> None:
        self.happened = False

    @contextmanager
    def at_statement(self, engine: Engine, number: int) -> Iterator[None]:
        """Within this block the statement with this number, from 0, fails."""
        self.happened, left = False, number

        def count(*_details: Any) -> None:
            nonlocal left
            left -= 1
            if left == -1:
                self.happened = True
                raise OperationalError("an accident", None, Exception("the database went away"))

        event.listen(engine, "before_cursor_execute", count)
        try:
            yield
        finally:
            event.remove(engine, "before_cursor_execute", count)

    @contextmanager
    def at_commit(self, engine: Engine, *, done: bool) -> Iterator[None]:
        """Within this block the first commit is not answered, and was `done` or was not."""
        self.happened = False
        commit, broken = engine.dialect.do_commit, engine.dialect.loaded_dbapi.OperationalError

        def break_off(connection: Any) -> None:
            if self.happened:
                commit(connection)
                return
            self.happened = True
            if done:
                commit(connection)
            raise broken("the database went away")

        with patch.object(engine.dialect, "do_commit", break_off):
            yield
