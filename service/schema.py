"""The database's tables, brought up to what this code expects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from service.db import Database, lock_connection

if TYPE_CHECKING:
    from alembic.config import Config

#: Beside the package `service`, in a checkout as in an installed wheel.
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def upgrade(database: Database) -> None:
    """Create or upgrade our tables; replicas that start together take turns."""
    if current(database) == newest():
        return
    # Alembic is slow to import, and hardly ever needed: restarts must be quick.
    from alembic import command

    with database.migrating() as connection:
        lock_connection(connection, "migrate")
        command.upgrade(alembic_config(connection), "head")


def newest() -> str:
    """The revision of the newest migration: their files' names begin with it, in order."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def current(database: Database) -> str | None:
    """The revision the tables are at; None for a database without our tables."""
    try:
        with database.engine.connect() as connection:
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except (OperationalError, ProgrammingError):
        # No such table, or no database; the upgrade that follows says which.
        return None


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration on an open connection, without any file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
