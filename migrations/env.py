"""Where Alembic meets our tables: on a connection it is given, or on the one settings name."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

import service.models  # noqa: F401 - fills the metadata
from service.db import Database, Row
from service.settings import Settings


def migrate(connection: Connection) -> None:
    """Run what Alembic was asked for, inside of the connection's transaction."""
    context.configure(
        connection=connection,
        target_metadata=Row.metadata,
        # SQLite cannot alter much in place; batches copy the table.
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    settings = Settings()
    settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    with database.migrating() as opened:
        migrate(opened)
    database.close()
