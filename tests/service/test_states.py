"""Legal moves, and only those."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from service.contract.errors import IllegalMove
from service.contract.trial import StudyState, TrialKind, TrialState
from service.db import Database
from service.models import Attempt, Study, Trial
from service.states import locked, move_study, move_trial

STUDY_MOVES = {
    ("draft", "active"), ("draft", "stopped"),
    ("active", "paused"), ("active", "confirming"), ("active", "finished"),
    ("active", "stopped"), ("active", "failed"),
    ("paused", "active"), ("paused", "confirming"), ("paused", "stopped"), ("paused", "failed"),
    ("confirming", "paused"), ("confirming", "finished"), ("confirming", "stopped"),
    ("confirming", "failed"),
}  # fmt: skip
TRIAL_MOVES = {
    ("queued", "leased"), ("queued", "cancelled"),
    ("leased", "queued"), ("leased", "complete"), ("leased", "pruned"), ("leased", "failed"),
    ("leased", "diverged"), ("leased", "cancelled"),
}  # fmt: skip


def _study(state: StudyState) -> Study:
    return Study(
        id="s1", name="one", definition={}, state=state, created=0.0, revision=5, clock=3,
        next_number=1, seeded=False,
    )  # fmt: skip


def _trial(state: TrialState) -> Trial:
    return Trial(
        uid="s1-0", study_id="s1", number=0, kind=TrialKind.SEARCH, origin="sampler", state=state,
        seed=0, created=0.0, token=1, lease_id="l1", expires=9.0,
    )  # fmt: skip


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("old", "new"), list(itertools.product(StudyState, repeat=2)))
def test_studies_make_the_listed_moves_and_no_other(
    database: Database, old: StudyState, new: StudyState
) -> None:
    with database.writing() as session:
        study = _study(old)
        session.add(study)
        session.flush()
        if (old.value, new.value) in STUDY_MOVES:
            move_study(session, study, new, "because")
            assert (study.state, study.reason, study.revision) == (new, "because", 6)
            assert (study.finished is not None) == (new in ("finished", "stopped", "failed"))
        else:
            with pytest.raises(IllegalMove, match=f"is {old} and cannot become {new}"):
                move_study(session, study, new)
            assert (study.state, study.revision) == (old, 5)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("old", "new"), list(itertools.product(TrialState, repeat=2)))
def test_trials_make_the_listed_moves_and_no_other(
    database: Database, old: TrialState, new: TrialState
) -> None:
    with database.writing() as session:
        study, trial = _study(StudyState.ACTIVE), _trial(old)
        attempt = Attempt(trial_uid="s1-0", token=1, lease_id="l1", worker_id="w", started=0.0)
        session.add(study)
        session.flush()
        session.add(trial)
        session.flush()
        session.add(attempt)
        session.flush()
        if (old.value, new.value) not in TRIAL_MOVES:
            with pytest.raises(IllegalMove, match=f"is {old} and cannot become {new}"):
                move_trial(session, trial, new)
            assert (trial.state, study.revision) == (old, 5)
            return
        move_trial(session, trial, new, "because")
        ended = new in ("complete", "pruned", "diverged", "failed", "cancelled")
        assert (trial.state, trial.revision, study.revision) == (new, 6, 6)
        assert (trial.finished_clock, trial.finished is not None) == (4 if ended else None, ended)
        assert trial.leased_clock == (4 if new == "leased" else None)
        assert attempt.outcome == (new.value if old == "leased" else "running")


def test_a_second_lease_keeps_the_clock_of_the_first(database: Database) -> None:
    with database.writing() as session:
        session.add(_study(StudyState.ACTIVE))
        session.flush()
        trial = _trial(TrialState.QUEUED)
        attempt: dict[str, Any] = {"trial_uid": "s1-0", "worker_id": "w", "started": 0.0}
        session.add(trial)
        session.flush()
        session.add(Attempt(token=1, lease_id="l1", **attempt))
        session.flush()
        locked(session, "s1")
        move_trial(session, trial, TrialState.LEASED)
        move_trial(session, trial, TrialState.QUEUED)
        move_trial(session, trial, TrialState.LEASED)
        assert trial.leased_clock == 4
