"""The tables of MLflow: whether they are those of the installed version, and made so.

MLflow refuses to serve an old schema, and its own upgrade takes seconds even when there is nothing
to do. So the revision is compared first: the database's against the newest migration on disk.
"""

from __future__ import annotations

import importlib.util
import logging
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import cache
from pathlib import Path

from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from service.contract.errors import Unavailable

logger = logging.getLogger(__name__)

_SCHEMA = "mlflow"
_UPGRADE = """
import os
from mlflow.store.db.utils import _upgrade_db, create_sqlalchemy_engine_with_retry
_upgrade_db(create_sqlalchemy_engine_with_retry(os.environ["_MLFLOW_SERVER_FILE_STORE"]))
"""


def schema_url(url: str) -> str:
    """The same PostgreSQL database, seen through schema `mlflow`.

    MLflow's migrations and ours both keep `alembic_version`; in one schema each breaks the other.
    """
    path = make_url(url).update_query_dict({"options": f"-csearch_path={_SCHEMA}"})
    return path.render_as_string(hide_password=False)


def make_schema(url: str) -> None:
    """Make sure that PostgreSQL has schema `mlflow`; nothing to do for SQLite."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return
    engine = create_engine(parsed)
    try:
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}"))
    except SQLAlchemyError as error:
        raise Unavailable(f"schema {_SCHEMA} cannot be made: {error}") from error
    finally:
        engine.dispose()


def upgrade_if_old(url: str, environment: dict[str, str]) -> None:
    """Migrate MLflow's tables when another version made them; a fresh database is left to MLflow.

    The URL travels in `environment`, not in the arguments, which every user of the machine sees.
    Unavailable when the database does not answer or the migration fails.
    """
    found = revision(url)
    if found is None or found == newest_revision():
        return
    logger.info("upgrading MLflow's tables from %s to %s", found, newest_revision())
    done = subprocess.run(
        [sys.executable, "-P", "-c", _UPGRADE],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(f"MLflow's tables cannot be upgraded from {found}: {last}")


@cache
def newest_revision() -> str:
    """The migration no other builds on, read without importing MLflow (1.5 s, 160 MB)."""
    package = importlib.util.find_spec("mlflow")
    if package is None or package.origin is None:
        raise Unavailable("MLflow is not installed; install srtune[server] or set SRTUNE_MLFLOW=0")
    versions = Path(package.origin).parent / "store" / "db_migrations" / "versions"
    texts = [path.read_text(encoding="utf-8") for path in versions.glob("*.py")]
    pattern = r'^(down_)?revision = "(\w+)"'
    named = [pair for text in texts for pair in re.findall(pattern, text, re.MULTILINE)]
    heads = {name for down, name in named if not down} - {name for down, name in named if down}
    if len(heads) != 1:
        raise Unavailable(f"MLflow's migrations have no single end: {sorted(heads)}")
    return str(heads.pop())


def analyze(url: str) -> None:
    """Refresh the statistics of an SQLite store; a busy one is left for the next time."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database is None:
        return
    try:
        with closing(sqlite3.connect(parsed.database, timeout=5)) as connection:
            connection.execute("PRAGMA analysis_limit=2000")
            connection.execute("ANALYZE")
    except sqlite3.OperationalError as error:
        logger.info("MLflow's statistics were not refreshed: %s", error)


def revision(url: str) -> str | None:
    """The revision of the tables; none when there are no tables yet."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").exists():
        return None
    engine = create_engine(parsed)
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            return None if found is None else str(found)
    except SQLAlchemyError as error:
        raise Unavailable(f"MLflow's database does not answer: {error}") from error
    finally:
        engine.dispose()
