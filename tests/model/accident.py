"""A database that goes away in the middle of a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError


class Accident:
    """Breaks one transaction, once, before its n-th statement or before its commit."""

    def __init__(self) -> None:
        self.happened = False
        self._left: int | None = None

    @contextmanager
    def at(self, engine: Engine, statement: int, *, commit: bool = False) -> Iterator[Accident]:
        """Within this block the `statement`-th statement fails; or the commit, if there is one."""
        self.happened, self._left = False, statement
        on_statement = self._on_statement
        on_commit = self._on_commit
        event.listen(engine, "before_cursor_execute", on_statement)
        if commit:
            event.listen(engine, "commit", on_commit)
        try:
            yield self
        finally:
            event.remove(engine, "before_cursor_execute", on_statement)
            if commit:
                event.remove(engine, "commit", on_commit)
            self._left = None

    def _on_statement(self, *_details: Any) -> None:
        if self._left is None:
            return
        if self._left == 0:
            self._happen()
        self._left -= 1

    def _on_commit(self, _connection: Any) -> None:
        if self._left is not None:
            self._happen()

    def _happen(self) -> None:
        self.happened, self._left = True, None
        raise OperationalError("an accident", None, Exception("the database went away"))
