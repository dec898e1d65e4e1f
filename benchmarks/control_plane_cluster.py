"""A PostgreSQL server of the benchmark's own: durable, on a real disk, copies of databases at will."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

#: Everything about durability stays as PostgreSQL ships it; these only make room and count.
_OPTIONS = "-c listen_addresses='' -c max_connections=200"
_COUNTING = "-c shared_preload_libraries=pg_stat_statements -c pg_stat_statements.track_utility=off"


@dataclass(frozen=True)
class Cluster:
    """A running server, reached by its socket folder; counts statements where it can."""

    folder: Path
    counts: bool

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def create(self, name: str, *, template: str = "template0") -> str:
        """A new database, a copy of another one; the URL of it. An old one of this name goes."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
            # A copy's first minutes should not pay for the writing of the copy.
            connection.execute("CHECKPOINT")
        return self.url(name)

    def drop(self, name: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def statements(self, name: str) -> tuple[int, int] | None:
        """Statements and committed transactions of a database so far; None where nobody counts."""
        if not self.counts:
            return None
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            # `toplevel` leaves out what foreign keys and triggers run inside of a statement.
            found = connection.execute(
                "SELECT coalesce(sum(calls), 0), (SELECT xact_commit FROM pg_stat_database "
                "WHERE datname = %(name)s) FROM pg_stat_statements JOIN pg_database ON oid = dbid "
                "WHERE datname = %(name)s AND toplevel",
                {"name": name},
            ).fetchone()
        return (int(found[0]), int(found[1])) if found else None

    def setting(self, name: str) -> str:
        with psycopg.connect(self.url("postgres")) as connection:
            found = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
        return str(found[0]) if found else "?"


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A fresh server in this (new) folder, ended and removed afterwards."""
    binaries = _binaries()
    folder.mkdir(parents=True)
    as_user: list[str] = []
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root, so root runs it as somebody else.
        as_user = ["runuser", "-u", "postgres", "--"]
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    data = folder / "data"
    initdb = [str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres"]
    subprocess.run([*as_user, *initdb], check=True, capture_output=True, cwd="/")
    counts = (binaries.parent / "lib" / "pg_stat_statements.so").exists()
    options = f"-k {folder} {_OPTIONS} {_COUNTING if counts else ''}"
    control = [*as_user, str(binaries / "pg_ctl"), "-D", str(data)]
    start = [*control, "-w", "-l", str(folder / "log"), "-o", options, "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd="/")
    try:
        running = Cluster(folder, counts)
        if counts:
            with psycopg.connect(running.url("postgres"), autocommit=True) as connection:
                connection.execute("CREATE EXTENSION pg_stat_statements")
        yield running
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], capture_output=True, cwd="/")
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(packaged[-1]) if packaged else shutil.which("initdb")
    if found is None:
        raise SystemExit("PostgreSQL's initdb is neither in /usr/lib/postgresql nor on the PATH")
    return Path(found).resolve().parent


def disk_of(folder: Path) -> str:
    """The device and file system a folder is on, as the kernel calls them."""
    mounts = [line.split()[:3] for line in Path("/proc/mounts").read_text().splitlines()]
    holders = [m for m in mounts if folder.resolve().is_relative_to(m[1])]
    device, place, kind = max(holders, key=lambda mount: len(mount[1]))
    return f"{kind} on {device} ({place})"
