"""The database's tables, brought up to what this code expects."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from service.db import Database, lock_connection

#: Beside the package `service`, in a checkout as in an installed wheel.
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def upgrade(database: Database) -> None:
    """Create or upgrade our tables; replicas that start together take turns."""
    with database.migrating() as connection:
        lock_connection(connection, "migrate")
        command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration on an open connection, without any file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
