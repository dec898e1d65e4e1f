"""The one truth's connection: SQLite embedded or PostgreSQL, with the same code above it."""

from __future__ import annotations

import enum
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, ClassVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Engine,
    Enum,
    MetaData,
    create_engine,
    event,
    func,
    literal_column,
    make_url,
    select,
)
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import NullPool

from service.contract.errors import Unavailable

#: In the info of sessions that write nothing: whatever they see is committed.
READING = "srtune.reading"
_NOW = "srtune.now"
_CLOCKS = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "extract(epoch FROM clock_timestamp())",
}


class Contended(Unavailable):
    """Two transactions waited for each other, and this one was ended; repeating it will do."""


class Disconnected(Unavailable):
    """The connection broke; it is not known whether what was under way was committed."""


_AT_END = "srtune.at_end"
#: PostgreSQL's words for a deadlock, a failed serialisation, and a lock waited for too long.
_CONTENDED = frozenset({"40P01", "40001", "55P03"})


class Row(DeclarativeBase):
    """The root of our tables; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # States are stored as their words, readable in psql and free to grow without ALTER TYPE.
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        enum.Enum: Enum(
            enum.Enum,
            native_enum=False,
            length=16,
            values_callable=lambda members: [member.value for member in members],
        )
    }


class Database:
    """An engine and its sessions; one transaction each, committed at the edge."""

    def __init__(self, url: str) -> None:
        self.sqlite = make_url(url).get_backend_name() == "sqlite"
        self.engine = _sqlite(url) if self.sqlite else _postgres(url)
        # Rebuilding a table takes as long as it takes; everything else has limits.
        self._unhurried = self.engine if self.sqlite else create_engine(url, poolclass=NullPool)
        # SQLite has one writer. Queueing for it here hands over at once; its own busy handler
        # sleeps between tries, and with many threads some of them sleep for seconds.
        self._turn: AbstractContextManager[object] = (
            threading.Lock() if self.sqlite else nullcontext()
        )

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction that will write; commits at the end, rolls back on an error."""
        with self._turn, _translated(), Session(self.engine, expire_on_commit=False) as session:
            if self.sqlite:
                # IMMEDIATE takes the write lock before the first read: no two writers decide on
                # the same rows (DEFERRED doubles 5-13 % of leases), no upgrade deadlock.
                session.connection().exec_driver_sql("BEGIN IMMEDIATE")
            yield session
            for act in session.info.pop(_AT_END, {}).values():
                act()
            try:
                session.commit()
            except DBAPIError:
                # Its connection would go back to the pool with the transaction still open, and
                # hold its locks for ever: SQLAlchemy takes a commit that failed for an end.
                session.invalidate()
                raise

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One consistent view; nothing is written."""
        with _translated(), Session(self.engine, expire_on_commit=False) as session:
            if self.sqlite:
                session.connection().exec_driver_sql("BEGIN")
            session.info[READING] = True
            # Closing ends the transaction and leaves what was read readable.
            yield session

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A transaction that changes tables; SQLite rebuilds them, so it must not cascade."""
        with self._turn, _translated(), self._unhurried.connect() as connection:
            if self.sqlite:
                connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()
            if self.sqlite:
                connection.exec_driver_sql("PRAGMA foreign_keys=ON")

    @contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """Whether this process is the only one that does what is called so, until the block ends.

        Holds no transaction; a process that dies lets go of it with its connection.
        """
        if self.sqlite:
            yield True  # there is one service process
            return
        key = func.hashtextextended(name, 0)
        with _translated(), self._unhurried.connect() as connection:
            held = connection.execution_options(isolation_level="AUTOCOMMIT")
            yield bool(held.execute(select(func.pg_try_advisory_lock(key))).scalar_one())

    def close(self) -> None:
        self.engine.dispose()


def lock(session: Session, name: str) -> None:
    """Serialise this transaction with others that lock the same name, on any replica.

    On SQLite writers are serial anyway, and there is one process.
    """
    lock_connection(session.connection(), name)


def try_lock(session: Session, name: str) -> bool:
    """`lock` without waiting; False while somebody else has it."""
    if session.get_bind().dialect.name != "postgresql":
        return True
    key = func.hashtextextended(name, 0)
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(key))))


def lock_all(session: Session, names: Iterable[str]) -> None:
    """`lock` for several names in one statement, in one order for everybody."""
    if session.get_bind().dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import array

        keys = select(func.unnest(array(sorted(names))).label("name")).subquery()
        ordered = select(keys.c.name).order_by(keys.c.name).subquery()
        session.execute(
            select(func.pg_advisory_xact_lock(func.hashtextextended(ordered.c.name, 0)))
        )


def lock_connection(connection: Connection, name: str) -> None:
    """`lock` for those who have no session."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def now(session: Session) -> float:
    """Unix seconds by the database's clock, the only one that decides about leases.

    Read once per transaction: everything in it happens at one time.
    """
    if _NOW not in session.info:
        set_now(session, session.execute(select(clock(session))).scalar_one())
    return float(session.info[_NOW])


def clock(session: Session) -> ColumnElement[float]:
    """The database's clock as a column, for statements that read something else as well."""
    dialect = session.get_bind().dialect.name
    return literal_column(_CLOCKS[dialect], Double)


def set_now(session: Session, at: float) -> None:
    """Let `now` be what `clock` said in this transaction; it never goes back.

    Whoever waited for a lock and then begins something says it again: time went by meanwhile.
    """
    session.info[_NOW] = max(float(at), session.info.get(_NOW, 0.0))


def at_end(session: Session, key: str, act: Callable[[], None]) -> None:
    """Do this right before the commit, once per key: for rows that many transactions write.

    A row locked at the end is locked for a moment, and behind all others, which spares deadlocks.
    """
    session.info.setdefault(_AT_END, {}).setdefault(key, act)


@contextmanager
def _translated() -> Iterator[None]:
    """Foreign exceptions stop here: a database that is away or busy is `Unavailable`."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable("every connection to the database is busy; try again") from error
    except OperationalError as error:
        if error.connection_invalidated:
            raise Disconnected("the database closed the connection; try again") from error
        if getattr(error.orig, "sqlstate", None) in _CONTENDED:
            raise Contended("another request held what this one needs; try again") from error
        raise Unavailable(f"the database cannot answer now ({error.orig}); try again") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Disconnected("the database closed the connection; try again") from error
        raise


def _postgres(url: str) -> Engine:
    from service.postgres import alive, connect

    # As many connections as the server has threads for requests: nobody waits for one.
    engine = create_engine(
        url, pool_pre_ping=True, pool_size=10, max_overflow=40, pool_timeout=10, pool_use_lifo=True
    )

    ask = engine.dialect.do_ping
    engine.dialect.do_ping = partial(alive, ask=ask)  # type: ignore[method-assign]

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, given: Any, options: dict[str, Any]) -> Any:
        return connect(*given, **options)

    return engine


def _sqlite(url: str) -> Engine:
    engine = create_engine(
        url, pool_size=10, max_overflow=40, connect_args={"timeout": 30, "check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: Any) -> None:
        # The driver's own BEGIN would come too late; sessions send theirs.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
