"""`srtune serve` as a process: quick to start, quick to end, and in good order."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from service.cli import main as cli
from service.cli.listening import free_port
from service.cli.vocabulary_file import VocabularyFile

ROOT = Path(cli.__file__).parents[2]
#: Seconds; test machines are busy.
PATIENCE = 60.0
HEAVY = ("torch", "optuna", "sklearn", "scipy", "pandas", "mlflow", "alembic", "workers", "losses")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that was served before: vocabulary and tables are there."""
    folder = tmp_path_factory.mktemp("data")
    VocabularyFile(folder).read()
    with serving(folder) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    return folder


@contextmanager
def serving(
    data: Path, *options: str, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A service that answers; its URL is `url(process)`."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "service.cli.main",
        "serve",
        "--data",
        str(data),
        "--no-mlflow",
    ]
    with (log or data / "serve.log").open("wb") as written:
        process = subprocess.Popen(
            [*command, "--port", str(port), *options], cwd=ROOT, stdout=written, stderr=written
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(port):
            assert process.poll() is None, Path(written.name).read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx2.TransportError:
        return False


def url(process: subprocess.Popen[bytes]) -> str:
    arguments = process.args
    assert isinstance(arguments, list)
    return f"http://127.0.0.1:{arguments[arguments.index('--port') + 1]}"


def test_a_restart_imports_nothing_heavy(data: Path) -> None:
    port = free_port()
    code = (
        "import atexit, sys, threading, os, signal\n"
        "from pathlib import Path\n"
        f"sys.argv = ['srtune', 'serve', '--data', {str(data)!r}, '--no-mlflow', '--port', '{port}']\n"
        f"heavy = {HEAVY!r}\n"
        "atexit.register(lambda: print(' '.join(n for n in heavy if n in sys.modules) or 'light'))\n"
        "from service.cli.main import main\n"
        "main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + PATIENCE
    while not answers(port):
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}/api/v1") as client:
        worker = client.post("/workers", json={"name": "w", "devices": []}).json()["id"]
        assert client.post("/leases", json={"worker": worker}).status_code == 204
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=PATIENCE)
    assert out.decode().strip() == "light"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_says_so_then_ends_within_five_seconds(
    data: Path, number: signal.Signals
) -> None:
    with serving(data) as process, httpx2.Client(base_url=url(process)) as client:
        assert client.get("/readyz").status_code == 200
        begun = time.monotonic()
        process.send_signal(number)
        time.sleep(0.2)
        assert client.get("/readyz").status_code == 503
        assert client.get("/api/v1/workers").status_code == 200
        assert process.wait(PATIENCE) == 0
        assert time.monotonic() - begun < 5
    assert "Traceback" not in (data / "serve.log").read_text()


def test_a_request_under_way_is_finished_and_idle_ones_do_not_hold_it_up(data: Path) -> None:
    with serving(data) as process:
        host, port = "127.0.0.1", int(url(process).rpartition(":")[2])
        body = json.dumps({"name": "late", "devices": []}).encode()
        head = (
            f"POST /api/v1/workers HTTP/1.1\r\nhost: {host}:{port}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode()
        idle = [socket.create_connection((host, port)) for _ in range(20)]
        with socket.create_connection((host, port), timeout=10) as late:
            late.sendall(head + body[:5])
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            time.sleep(1.0)
            late.sendall(body[5:])
            assert late.recv(100).startswith(b"HTTP/1.1 200")
        assert process.wait(PATIENCE) == 0
        for one in idle:
            one.close()


def test_whoever_never_finishes_is_cut_off_in_time(data: Path) -> None:
    with serving(data) as process:
        host, port = "127.0.0.1", int(url(process).rpartition(":")[2])
        with socket.create_connection((host, port)) as never:
            never.sendall(
                f"POST /api/v1/workers HTTP/1.1\r\nhost: {host}:{port}\r\n"
                "content-type: application/json\r\ncontent-length: 9\r\n\r\n{".encode()
            )
            time.sleep(0.2)
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
            assert time.monotonic() - begun < 5.5


def test_workers_that_report_while_it_ends_hear_what_was_kept(data: Path) -> None:
    """Whatever got its 2xx is there after the restart."""
    acknowledged: list[str] = []

    def hammer(number: int, base: str) -> None:
        with httpx2.Client(base_url=base, timeout=5) as client:
            for turn in range(10_000):
                name = f"w{number}-{turn}"
                try:
                    answer = client.post("/api/v1/workers", json={"name": name, "devices": []})
                except httpx2.TransportError:
                    return
                if answer.status_code == 200:
                    acknowledged.append(name)

    with serving(data) as process:
        threads = [threading.Thread(target=hammer, args=(n, url(process))) for n in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        for thread in threads:
            thread.join()
    with serving(data) as process:
        there = {one["name"] for one in httpx2.get(f"{url(process)}/api/v1/workers").json()}
    assert acknowledged
    assert set(acknowledged) <= there


def test_its_lines_are_json_and_a_second_signal_does_no_harm(data: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(data, "--log-json", log=log) as process:
        headers = {"x-request-id": "from-a-test"}
        body = {"name": "w", "devices": []}
        httpx2.post(f"{url(process)}/api/v1/workers", json=body, headers=headers)
        for _ in range(3):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        assert process.wait(PATIENCE) == 0
    events = [json.loads(line) for line in log.read_text().splitlines()]
    answered = next(event for event in events if event.get("request") == "from-a-test")
    assert {"message": "answered", "route": "/workers", "status": 200}.items() <= answered.items()
