"""Databases to test on: SQLite, and a PostgreSQL of our own that lives as long as the session."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch
from sqlalchemy import create_engine, text

from service.db import Database, Row
from service.schema import upgrade

# One thread: two of them fight over shared cores, and bit-for-bit claims are per thread count.
torch.set_num_threads(1)
# How long an example takes says how busy the machine is, not whether the law holds.
hypothesis.settings.register_profile(
    "srtune", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("srtune")

_numbers = itertools.count()


def _postgres_binaries() -> Path | None:
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(packaged[-1]) if packaged else shutil.which("initdb")
    return None if found is None else Path(found).resolve().parent


def _unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root, so root runs it as somebody else."""
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[str]:
    """The folder of a running server's socket; skips where PostgreSQL is not installed."""
    binaries = _postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's initdb is neither in /usr/lib/postgresql nor on the PATH")
    folder = Path(tempfile.mkdtemp(prefix="srtune-pg-"))
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
    as_user, data = _unprivileged(), folder / "data"
    control = [*as_user, str(binaries / "pg_ctl"), "-D", str(data)]
    # No TCP and no fsync: nobody else connects, and the data die with the session.
    options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=200"
    subprocess.run(
        [
            *as_user,
            str(binaries / "initdb"),
            "-D",
            str(data),
            "-A",
            "trust",
            "-U",
            "postgres",
            "-N",
        ],
        check=True,
        capture_output=True,
        cwd="/",
    )
    subprocess.run(
        [*control, "-w", "-l", str(folder / "log"), "-o", options, "start"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        yield str(folder)
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], capture_output=True, cwd="/")
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_url(cluster: str, name: str) -> str:
    return f"postgresql+psycopg://postgres@/{name}?host={cluster}"


def _empty(url: str) -> None:
    # A database of its own for every test would cost 8 MB of disk each.
    engine = create_engine(url)
    with engine.begin() as connection:
        for table in reversed(Row.metadata.sorted_tables):
            connection.execute(table.delete())
    engine.dispose()


def _create_postgres(cluster: str, name: str) -> str:
    engine = create_engine(_postgres_url(cluster, "postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return _postgres_url(cluster, name)


@pytest.fixture(scope="session")
def postgres_migrated(postgres_cluster: str) -> str:
    """The URL of a database with our tables, which tests share one after another."""
    url = _create_postgres(postgres_cluster, "migrated")
    database = Database(url)
    upgrade(database)
    database.close()
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with our tables, to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    database = Database(f"sqlite:///{path}")
    upgrade(database)
    database.close()
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def backend(request: pytest.FixtureRequest) -> str:
    """Which database; tests that ask for it run once on each."""
    return str(request.param)


@pytest.fixture
def empty_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any tables."""
    if backend == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    cluster = request.getfixturevalue("postgres_cluster")
    return _create_postgres(cluster, f"empty{next(_numbers)}")


@pytest.fixture
def database_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database with our tables."""
    if backend == "sqlite":
        path = tmp_path / "srtune.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("postgres_migrated")
    _empty(url)
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh database with our tables, open."""
    opened = Database(database_url)
    yield opened
    opened.close()
