"""Whatever people, workers, networks and restarts do in whatever order: every promise holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Machine

_PATIENT = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "print_blob": True,
}


def _play(url: str, data: Path, backend: str, *, examples: int, steps: int) -> None:
    # SQLite belongs to one process; PostgreSQL is shared by two replicas that take turns.
    replicas = 1 if backend == "sqlite" else 2
    Machine.counts.clear()
    run_state_machine_as_test(
        lambda: Machine(url, data, replicas=replicas),
        settings=settings(max_examples=examples, stateful_step_count=steps, **_PATIENT),
    )


def test_no_sequence_of_requests_breaks_a_promise(
    database_url: str, tmp_path: Path, backend: str
) -> None:
    _play(database_url, tmp_path, backend, examples=15, steps=40)
    assert Machine.counts["step"] > 300
