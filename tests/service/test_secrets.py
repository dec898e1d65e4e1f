"""No secret leaves the service: not into logs, answers, argument lists, or files others may read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.cli.listening import free_port
from service.cli.serve import settings_from
from service.contract.errors import SrtuneError
from service.settings import Settings

SECRET, PASSWORD = "srt_" + "tokensecret" * 3, "databasepassword"
_COMMAND = [sys.executable, "-m", "service.cli.main"]


def _environment(data: Path, **changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SRTUNE_")}
    return {**kept, "SRTUNE_DATA": str(data), "SRTUNE_TOKEN": SECRET, **changes}


def _nothing_said(text: str) -> None:
    for secret in (SECRET, PASSWORD, SECRET[4:]):
        assert secret not in text


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """`srtune serve` at its most talkative: its address, and the file of all it says."""
    said, port = tmp_path / "said", free_port()
    environment = _environment(tmp_path / "data", SRTUNE_DEBUG="1")
    with said.open("wb") as out:
        process = subprocess.Popen(
            [*_COMMAND, "serve", "--port", str(port), "--no-mlflow"],
            stdout=out, stderr=out, env=environment,
        )  # fmt: skip
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120.0
        while not _ready(url):
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield url, said
        process.send_signal(signal.SIGTERM)
        process.wait(20.0)


def _ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.mark.slow
def test_a_running_service_never_says_its_secrets(service: tuple[str, Path]) -> None:
    url, said = service
    bearer = {"authorization": f"Bearer {SECRET}"}
    with httpx2.Client(base_url=url) as client:
        made = client.post(
            "/api/v1/tokens", json={"name": "n", "scopes": ["worker"]}, headers=bearer
        ).json()["secret"]
        answers = [
            client.get("/api/v1/studies", headers=bearer),
            client.get("/api/v1/studies", headers={"authorization": f"Bearer {SECRET}x"}),
            client.get("/api/v1/studies", headers={"authorization": f"Basic {SECRET}"}),
            client.get(f"/api/v1/studies/{SECRET[:0]}none", headers=bearer),
            client.post("/api/v1/studies", json={"name": 1}, headers=bearer),
            client.post("/api/v1/studies", content=b"{", headers=bearer),
            client.post("/api/v1/leases", json={"worker": "w"}, headers=bearer),
            client.get("/api/v1/tokens", headers=bearer),
            client.get("/api/v1/tokens", headers={"authorization": f"Bearer {made}"}),
            client.get("/api/v1/audit", headers=bearer),
            client.get("/metrics", headers=bearer),
            client.get("/openapi.json"),
        ]
    for answer in answers:
        _nothing_said(answer.text)
        assert made not in answer.text
    text = said.read_text()
    assert "INFO" in text or "DEBUG" in text
    _nothing_said(text)
    assert made not in text


def test_no_secret_is_in_the_arguments_of_the_children_of_a_stack(tmp_path: Path) -> None:
    from service.cli.stack import Plan, Stack

    url = f"postgresql://ann:{PASSWORD}@db/srtune"
    stack = Stack(Plan(data=tmp_path, token=SECRET, database=url), tell=lambda _line: None)
    service, *workers = [stack._service, *stack._workers]
    for child in (service, *workers):
        _nothing_said(" ".join(child.command))
    assert stack._environment(service)["SRTUNE_DATABASE"] == url
    for worker in workers:
        assert "SRTUNE_DATABASE" not in stack._environment(worker)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ann:{PASSWORD}@127.0.0.1:1/srtune",
        f"postgresql://ann:{PASSWORD}@no.such.host.invalid/srtune",
        f"postgresql://ann:{PASSWORD}@127.0.0.1:port/srtune",
        f"postgresql://ann:{PASSWORD}@{PASSWORD}@db/srtune",
        f"nosuchdatabase://ann:{PASSWORD}@db/srtune",
        f"{PASSWORD}",
    ],
)
def test_a_database_that_cannot_be_reached_is_told_without_its_password(
    tmp_path: Path, url: str
) -> None:
    ran = subprocess.run(
        [*_COMMAND, "token", "list", "--json"],
        env=_environment(tmp_path, SRTUNE_DATABASE=url, SRTUNE_DEBUG=""),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode != 0
    _nothing_said(ran.stdout + ran.stderr)
    assert "Traceback" not in ran.stderr, ran.stderr
    assert len(ran.stderr) > 10


def test_settings_can_be_printed(tmp_path: Path) -> None:
    url = f"postgresql://ann:{PASSWORD}@db/srtune"
    settings = Settings(data=tmp_path, token=SECRET, database=url)
    _nothing_said(repr(settings))
    _nothing_said(str(settings))


@pytest.mark.parametrize("wrong", [{"database": f"postgresql://a:{PASSWORD}@b@c/d"}, {"port": "x"}])
def test_wrong_settings_are_told_without_secrets(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SrtuneError) as caught:
        settings_from(data=tmp_path, token=SECRET, **wrong)
    _nothing_said(str(caught.value))
    assert next(iter(wrong)).upper() in str(caught.value)


def test_the_token_of_the_command_line_is_not_in_its_json(tmp_path: Path) -> None:
    ran = subprocess.run(
        [*_COMMAND, "token", "create", "--scope", "read", "--name", "n", "--json"],
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    made = json.loads(ran.stdout)
    for command in (("token", "list"), ("audit",)):
        shown = subprocess.run(
            [*_COMMAND, *command, "--json"],
            env=_environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert made["id"] in shown.stdout
        assert made["token"] not in shown.stdout + shown.stderr
