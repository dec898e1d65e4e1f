"""Whatever people, workers, networks and restarts do in whatever order: every promise holds."""

from __future__ import annotations

import logging
import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.home import Home
from tests.model.machine import Machine

logger = logging.getLogger(__name__)
#: Whoever only wants to know whether it fails need not wait for the smallest example.
_PHASES = set(Phase) - ({Phase.shrink} if "SRTUNE_NO_SHRINKING" in os.environ else set[Phase]())


def _play(home: Home, backend: str, *, examples: int, steps: int) -> None:
    class Here(Machine):
        engine = home.engine
        # SQLite belongs to one process; PostgreSQL is shared by two replicas that take turns.
        services = home.replicas[: 1 if backend == "sqlite" else 2]

    Machine.counts.clear()
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            phases=_PHASES,
        ),
    )


def test_no_sequence_of_requests_breaks_a_promise(home: Home, backend: str) -> None:
    _play(home, backend, examples=10, steps=30)
    assert Machine.counts["step"] > 200


@pytest.mark.long
def test_no_long_sequence_of_requests_breaks_a_promise(
    home: Home, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _play(home, backend, examples=250, steps=100)
    with capsys.disabled():
        logger.warning("%s: %s", backend, Machine.table())
    assert Machine.counts["step"] >= 20_000
