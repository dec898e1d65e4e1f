"""Whose run it is, read off the rows."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import update

from service.contract.worker import WorkerState
from service.db import Database
from service.models import Attempt, Study, Trial, Worker
from service.tracking.owners import RunOwner, RunOwners


@pytest.fixture
def run(database: Database, study: Study) -> str:
    """The run of trial 3, which worker w1 trains; w2 is there, too."""
    with database.writing() as session:
        session.add_all(
            Worker(
                id=name,
                name=name,
                devices=[],
                slots=1,
                state=WorkerState.ACTIVE,
                last_seen=0.0,
                token_id=f"token-{name}",
            )
            for name in ("w1", "w2")
        )
        session.execute(update(Study).values(experiment_id="7"))
        session.execute(update(Trial).where(Trial.number == 3).values(run_id="r" * 32))
    return "r" * 32


def test_a_run_is_its_trials_workers(database: Database, run: str) -> None:
    assert RunOwners(database).of(run) == RunOwner("token-w1", "7")


def test_a_run_of_no_trial_is_nobodys(database: Database, run: str) -> None:
    assert RunOwners(database).of("x") is None


def test_a_trial_that_went_to_another_worker_takes_its_run_along(
    database: Database, study: Study, run: str
) -> None:
    known = RunOwners(database, fresh=0.05)
    assert known.of(run) == RunOwner("token-w1", "7")
    with database.writing() as session:
        uid = f"{study.id}-3"
        again = Attempt(trial_uid=uid, token=2, lease_id="again", worker_id="w2", started=0.0)
        session.add(again)
        session.execute(update(Trial).where(Trial.uid == uid).values(token=2))
    time.sleep(0.06)
    assert known.of(run) == RunOwner("token-w2", "7")
