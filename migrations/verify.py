"""`python -m migrations.verify`: the migrations make exactly the tables that service.models declares."""

from __future__ import annotations

import tempfile
from pathlib import Path

from alembic import command

from service.db import Database
from service.schema import alembic_config, upgrade


def main() -> None:
    """Upgrade an empty database and compare; alembic's CommandError names the difference."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'empty.db'}")
        upgrade(database)
        with database.engine.connect() as connection:
            command.check(alembic_config(connection))
        database.close()


if __name__ == "__main__":
    main()
