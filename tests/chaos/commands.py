"""How each process of an installation is started."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from tests.chaos.processes import Keeper, Kept

_CLI = (sys.executable, "-m", "service.cli.main")


def postgres(keeper: Keeper, data: Path, folder: Path) -> tuple[str, Kept]:
    """A cluster of our own, as careful as in production, and small."""
    binaries = _postgres_binaries()
    inside: tuple[str, ...] = ()
    sockets = folder / "sockets"
    sockets.mkdir()
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        inside = ("setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups")
        inside += ("--pdeathsig", "KILL")
        data.mkdir()
        for owned in (data, sockets):
            os.chown(owned, user.pw_uid, user.pw_gid)
    initdb = (binaries / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-N")
    subprocess.run(
        [*inside, *map(str, initdb), "--wal-segsize", "1"], check=True, capture_output=True, cwd="/"
    )
    options = {
        "unix_socket_directories": str(sockets),
        "listen_addresses": "",
        "max_connections": "160",
        "shared_buffers": "32MB",
        "max_wal_size": "32MB",
        "min_wal_size": "2MB",
        "checkpoint_timeout": "30s",
    }
    command = [str(binaries / "postgres"), "-D", str(data)]
    command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    kept = Kept("postgres", command, folder / "postgres.log", inside=inside)
    return f"postgresql://postgres@/postgres?host={sockets}", keeper.keep(kept)


def _postgres_binaries() -> Path:
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(packaged[-1]) if packaged else shutil.which("initdb")
    assert found is not None, "PostgreSQL is not installed"
    return Path(found).resolve().parent


def server(
    folder: Path, data: Path, url: str, port: int, *, lease_seconds: float, mlflow_url: str | None
) -> Kept:
    """One replica."""
    environment = {
        "SRTUNE_LEASE_SECONDS": str(lease_seconds),
        "SRTUNE_REAP_SECONDS": "0.3",
        # All simulated workers come from one address.
        "SRTUNE_RATE": "0",
        **({"SRTUNE_MLFLOW_URI": mlflow_url} if mlflow_url else {}),
    }
    lab_book = () if mlflow_url else ("--no-mlflow",)
    command = (*_CLI, "serve", "--data", str(data), "--port", str(port), "--database", url)
    return Kept(f"server-{port}", (*command, *lab_book), folder / f"server-{port}.log", environment)


def trainer(folder: Path, url: str, name: str) -> Kept:
    """A worker that really trains."""
    command = (
        *_CLI, "worker", "--server", url, "--device", "cpu", "--name", name,
        "--folder", str(folder / name), "--label", "trains=images", "--allow-data", "/",
    )  # fmt: skip
    return Kept(name, command, folder / f"{name}.log", again=1.0)


def mlflow(keeper: Keeper, folder: Path) -> tuple[str, Kept]:
    """MLflow as somebody else would run it: the stock server, one process."""
    home, port = folder / "mlflow", free_port()
    home.mkdir()
    command = (
        sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{home}/mlflow.db",
        "--artifacts-destination", str(home / "artifacts"),
    )  # fmt: skip
    kept = Kept("mlflow", command, folder / "mlflow.log", again=1.0)
    return f"http://127.0.0.1:{port}", keeper.keep(kept)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
