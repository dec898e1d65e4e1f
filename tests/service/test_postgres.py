"""A PostgreSQL that no longer answers costs its callers seconds, never a thread."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from service import postgres
from service.contract.errors import Unavailable
from service.db import Database

pytestmark = pytest.mark.postgres


@pytest.fixture
def database(postgres_migrated: str) -> Iterator[Database]:
    opened = Database(postgres_migrated)
    yield opened
    opened.close()


def backend(database: Database) -> int:
    """The server's process behind the connection that is lent now."""
    with database.reading() as session:
        return int(session.execute(text("SELECT pg_backend_pid()")).scalar_one())


def test_a_connection_that_froze_in_the_pool_is_replaced(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_ANSWER", 1)
    # One that answered a moment ago would be lent unasked.
    monkeypatch.setattr(postgres, "_QUIET", 0.0)
    frozen = backend(database)
    os.kill(frozen, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        assert backend(database) != frozen
        assert 0.9 < time.monotonic() - begun < 10
    finally:
        os.kill(frozen, signal.SIGCONT)


def test_a_server_that_freezes_in_the_middle_of_a_transaction_ends_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_ANSWER", 1)
    frozen: list[int] = []

    def freeze() -> None:
        with database.writing() as session:
            frozen.append(session.execute(text("SELECT pg_backend_pid()")).scalar_one())
            os.kill(frozen[0], signal.SIGSTOP)
            session.execute(text("SELECT 1"))

    try:
        with pytest.raises(Unavailable, match="try again"):
            freeze()
        assert backend(database) != frozen[0]
    finally:
        os.kill(frozen[0], signal.SIGCONT)


def test_a_lock_is_not_waited_for_for_ever(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres._SETTINGS, "lock_timeout", "200ms")
    with database.writing() as holder:
        holder.execute(text("LOCK TABLE worker"))
        begun = time.monotonic()
        with pytest.raises(Unavailable), database.writing() as session:
            session.execute(text("LOCK TABLE worker"))
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("name", postgres._SETTINGS)
def test_every_connection_has_the_server_s_limits(database: Database, name: str) -> None:
    with database.reading() as session:
        shown = session.execute(text(f"SHOW {name}")).scalar_one()
    assert shown not in ("0", "0ms", "")


def test_a_migration_has_as_long_as_it_takes(database: Database) -> None:
    with database.migrating() as connection:
        assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "0"


def test_a_url_s_own_options_are_kept(postgres_migrated: str) -> None:
    opened = Database(f"{postgres_migrated}&options=-cwork_mem%3D7MB")
    with opened.reading() as session:
        assert session.execute(text("SHOW work_mem")).scalar_one() == "7MB"
        assert session.execute(text("SHOW statement_timeout")).scalar_one() != "0"
    opened.close()
