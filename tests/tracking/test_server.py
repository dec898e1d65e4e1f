"""The supervised MLflow process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.contract.errors import Unavailable
from service.tracking.schema import newest_revision, revision, schema_url, upgrade_if_old
from service.tracking.server import MlflowServer

_PARENT = """
import sys, time
from pathlib import Path
from service.tracking.server import MlflowServer
server = MlflowServer(Path(sys.argv[1]))
server.start()
while server.pid is None:
    time.sleep(0.01)
sys.stdout.write(f"{server.pid}\\n")
sys.stdout.flush()
time.sleep(600)
"""


def test_its_tables_are_of_the_newest_revision(mlflow: MlflowServer) -> None:
    assert revision(mlflow.database_url) == newest_revision()


def test_only_we_can_reach_its_socket(mlflow: MlflowServer) -> None:
    assert mlflow.socket.parent.stat().st_mode & 0o777 == 0o700


def test_is_one_process_that_knows_none_of_our_secrets(
    mlflow: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRTUNE_TOKEN", "secret")
    assert "secret" not in mlflow._environment().values()
    assert not Path(f"/proc/{mlflow.pid}/task/{mlflow.pid}/children").read_text()


def test_starts_again_when_killed(mlflow: MlflowServer) -> None:
    killed = mlflow.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    end = time.monotonic() + 5
    while mlflow.status == "ready" and time.monotonic() < end:
        time.sleep(0.01)
    assert mlflow.status == "away"
    assert mlflow.wait_ready(60)
    assert mlflow.pid != killed


def test_dies_with_its_parent(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)], cwd=root, stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    end = time.monotonic() + 10
    while _running(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _running(child)


def test_a_deep_data_folder_gets_a_short_socket(tmp_path: Path) -> None:
    server = MlflowServer(tmp_path / ("deep" * 20) / ("deeper" * 10))
    assert len(os.fsencode(server.socket)) <= 107
    server.stop()
    assert not server.socket.parent.exists()


def test_says_when_the_tables_are_of_an_unknown_version(
    mlflow: MlflowServer, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES ('fromthefuture')")
    connection.close()
    environment = mlflow._environment() | {"_MLFLOW_SERVER_FILE_STORE": url}
    with pytest.raises(Unavailable, match="cannot be upgraded from fromthefuture"):
        upgrade_if_old(url, environment)


def test_keeps_its_own_schema_in_postgresql() -> None:
    url = schema_url("postgresql+psycopg://me:secret@host/srtune")
    assert url == "postgresql+psycopg://me:secret@host/srtune?options=-csearch_path%3Dmlflow"


@pytest.mark.postgres
@pytest.mark.slow
def test_serves_from_the_service_s_postgresql(tmp_path: Path, postgres_cluster: str) -> None:
    url = f"postgresql+psycopg://postgres@/postgres?host={postgres_cluster}"
    server = MlflowServer(tmp_path, schema_url(url))
    server.start()
    try:
        assert server.wait_ready(120), (tmp_path / "mlflow.log").read_text()
        assert revision(server.database_url) == newest_revision()
        assert revision(url) is None
    finally:
        server.stop()


def _running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
