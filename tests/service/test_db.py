"""Transactions: whole or not at all, and by the database's clock."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from service.contract.errors import Unavailable
from service.contract.worker import WorkerState
from service.db import Database, lock, now
from service.models import Worker


def _worker(name: str) -> Worker:
    return Worker(
        id=name, name=name, devices=[], slots=0, labels={}, state=WorkerState.ACTIVE, last_seen=0.0
    )


def test_an_error_undoes_the_whole_transaction(database: Database) -> None:
    def write() -> None:
        with database.writing() as session:
            session.add(_worker("a"))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    with database.reading() as session:
        assert session.scalars(select(Worker)).all() == []


def test_what_was_read_can_still_be_looked_at_afterwards(database: Database) -> None:
    with database.writing() as session:
        session.add(_worker("a"))
    with database.reading() as session:
        worker = session.get_one(Worker, "a")
    assert (worker.name, worker.state) == ("a", WorkerState.ACTIVE)


def test_the_clock_is_unix_time_with_fractions(database: Database) -> None:
    with database.reading() as session:
        first = now(session)
        time.sleep(0.01)
        assert now(session) == first, "one transaction, one time"
    with database.reading() as session:
        second = now(session)
    assert first == pytest.approx(time.time(), abs=2.0)
    assert 0.005 < second - first < 1.0


def test_writers_of_one_row_lose_no_update(database: Database, database_url: str) -> None:
    with database.writing() as session:
        session.add(_worker("a"))
    # A second process, such as the command line, has its own connections.
    other = Database(database_url)

    def count(through: Database) -> None:
        for _ in range(10):
            with through.writing() as session:
                session.get_one(Worker, "a", with_for_update=True).slots += 1

    threads = [threading.Thread(target=count, args=(one,)) for one in (database, other) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    with database.reading() as session:
        assert session.get_one(Worker, "a").slots == 80


def test_a_named_lock_lets_one_in_at_a_time(database: Database) -> None:
    inside, most = [0], [0]

    def enter() -> None:
        with database.writing() as session:
            lock(session, "door")
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.01)
            inside[0] -= 1

    threads = [threading.Thread(target=enter) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_a_database_that_is_away_is_unavailable(tmp_path: Path) -> None:
    for url in (
        f"sqlite:///{tmp_path / 'no' / 'folder.db'}",
        f"postgresql+psycopg://x@/x?host={tmp_path}",
    ):
        database = Database(url)
        with pytest.raises(Unavailable, match="try again"), database.reading() as session:
            now(session)
        database.close()


@pytest.mark.postgres
@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_of_two_processes_one_is_alone(database: Database, database_url: str) -> None:
    other = Database(database_url)
    with database.alone("chore") as first, other.alone("chore") as second:
        assert (first, second) == (True, False)
        with other.alone("another chore") as free:
            assert free
    with other.alone("chore") as afterwards:
        assert afterwards
    other.close()
