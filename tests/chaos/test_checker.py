"""The checker finds each kind of broken promise in hand-made evidence, and nothing in good evidence."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.chaos.checker import CHECKS, violations
from tests.chaos.evidence import Evidence
from tests.chaos.history import Operation
from tests.chaos.tables import Tables

Row = dict[str, Any]
TTL = 2.0
SCORES = {"psnr_y": 30.0}
BETTER = {"psnr_y": 31.0}


@dataclass
class Case:
    """One study of two trials: one worker lost the first, which another completed; then the second."""

    study: Row = field(default_factory=dict)
    trials: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)
    reports: list[Row] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)

    def broken(self) -> list[str]:
        """The invariants that the checker finds broken."""
        tables = Tables(
            studies=[self.study],
            trials=self.trials,
            attempts=self.attempts,
            reports=self.reports,
            workers=[{"id": name, "name": name} for name in ("w1", "w2", "w3")],
            blobs=self.blobs,
        )
        found = violations(Evidence(self.operations, tables, lease_seconds=TTL))
        return sorted({violation.invariant for violation in found})

    def heard(
        self, kind: str, lease: str, body: Row, at: float, status: int, answer: Any = None
    ) -> None:
        name = str(len(self.operations))
        self.operations.append(
            Operation(name, "w", kind, lease, body, at, at + 0.1, status=status, answer=answer)
        )

    def grant(self, lease: Row, worker: str, at: float, *, request: str) -> None:
        body = {"worker": worker, "request": request, "capacity": 1}
        told = {"id": lease["lease_id"], "token": lease["token"], "uid": lease["trial_uid"]}
        self.heard("lease", "", body, at, 200, [{**told, "study": "s", "number": 0, "attempt": 1}])


def trial(number: int, token: int, metrics: Row) -> Row:
    return {
        "uid": f"s-{number}",
        "study_id": "s",
        "number": number,
        "kind": "search",
        "origin": "sampler",
        "state": "complete",
        "token": token,
        "metrics": metrics,
        "resume_sha256": None,
        "weights_sha256": None,
    }


def attempt(number: int, token: int, worker: str, began: float, ended: float, outcome: str) -> Row:
    return {
        "trial_uid": f"s-{number}",
        "token": token,
        "lease_id": f"l{number}.{token}",
        "worker_id": worker,
        "request": f"r{number}.{token}",
        "cause": None,
        "started": began,
        "ended": ended,
        "outcome": outcome,
    }


@pytest.fixture
def case() -> Case:
    case = Case()
    case.study = {
        "id": "s",
        "state": "finished",
        "definition": {"budget": {"trials": 2, "gpu_hours": 1.0}, "max_running": 1},
        "next_number": 2,
        "searched": 2,
        "unfinished": 0,
        "running": 0,
        "attempts_ended": 3,
        "device_seconds": 5.0,
    }
    case.trials = [trial(0, 2, BETTER), trial(1, 1, SCORES)]
    case.attempts = [
        attempt(0, 1, "w1", 10.0, 13.0, "lapsed"),
        attempt(0, 2, "w2", 13.5, 14.5, "complete"),
        attempt(1, 1, "w2", 15.0, 16.0, "complete"),
    ]
    case.reports = [{"trial_uid": "s-0", "step": 5, "token": 2, "metrics": SCORES}]
    for row, at in zip(case.attempts, (10.0, 13.5, 15.0), strict=True):
        case.grant(row, row["worker_id"], at, request=row["request"])
    beat = {"token": 1, "step": 1}
    case.heard("heartbeat", "l0.1", beat, 10.5, 200, {"action": "continue"})
    case.heard("heartbeat", "l0.1", beat, 14.0, 409, {"error": "LeaseLost"})
    case.heard("result", "l0.1", {"token": 1, "metrics": SCORES}, 14.1, 409, {"error": "LeaseLost"})
    report = {"token": 2, "step": 5, "metrics": SCORES}
    case.heard("reports", "l0.2", report, 14.0, 200, {"action": "continue"})
    case.heard("reports", "l0.2", report, 14.2, 200, {"action": "continue"})
    case.heard("result", "l0.2", {"token": 2, "metrics": BETTER}, 14.4, 204)
    case.heard("result", "l0.2", {"token": 2, "metrics": BETTER}, 17.0, 204)
    case.heard("result", "l1.1", {"token": 1, "metrics": SCORES}, 15.9, 204)
    return case


def test_good_evidence_has_no_violation(case: Case) -> None:
    assert case.broken() == []


def test_an_unknown_operation_is_neither_done_nor_refused(case: Case) -> None:
    case.operations.append(Operation("x", "w", "release", "l0.1", {"token": 1}, 15.0, 16.0))
    case.operations.append(Operation("y", "w", "result", "l9.9", {"token": 1}, 15.0))
    assert case.broken() == []


def a_trial_never_ends(case: Case) -> str:
    case.trials[1]["state"] = "leased"
    return "I1"


def a_study_never_ends(case: Case) -> str:
    case.study["state"] = "active"
    return "I1"


def a_completed_trial_is_leased_again(case: Case) -> str:
    case.attempts[0]["outcome"] = "pruned"
    return "I1"


def an_ended_state_contradicts_its_last_attempt(case: Case) -> str:
    case.trials[1]["state"] = "pruned"
    return "I1"


def two_results_are_accepted(case: Case) -> str:
    case.attempts[0]["outcome"] = "complete"
    return "I2"


def nobody_sent_the_recorded_scores(case: Case) -> str:
    case.trials[0]["metrics"] = SCORES
    return "I2"


def two_leases_overlap(case: Case) -> str:
    case.attempts[1]["started"] = 12.9
    return "I3"


def a_token_is_given_twice(case: Case) -> str:
    case.attempts[1]["token"] = 1
    return "I3"


def a_lease_was_granted_and_forgotten(case: Case) -> str:
    del case.attempts[0]
    return "I3"


def a_lease_is_told_to_another_worker(case: Case) -> str:
    case.grant(case.attempts[1], "w1", 14.0, request="r")
    return "I3"


def a_lease_lapses_early(case: Case) -> str:
    case.heard("heartbeat", "l0.1", {"token": 1, "step": 2}, 12.0, 200, {"action": "continue"})
    return "I3"


def a_zombie_beats_after_a_newer_grant(case: Case) -> str:
    case.heard("heartbeat", "l0.1", {"token": 1, "step": 3}, 14.2, 200, {"action": "continue"})
    return "I4"


def a_zombie_completes_after_a_newer_grant(case: Case) -> str:
    case.heard("result", "l0.1", {"token": 1, "metrics": SCORES}, 14.3, 204)
    return "I4"


def an_acknowledged_report_is_gone(case: Case) -> str:
    case.reports.clear()
    return "I5"


def other_scores_are_stored_than_were_sent(case: Case) -> str:
    case.reports[0]["metrics"] = BETTER
    return "I5"


def an_acknowledged_result_is_gone(case: Case) -> str:
    case.attempts[2]["outcome"] = "lapsed"
    return "I5"


def an_acknowledged_object_is_gone(case: Case) -> str:
    case.heard("blob", "", {"method": "PUT", "sha256": "ab"}, 11.0, 201)
    return "I5"


def an_acknowledged_study_is_gone(case: Case) -> str:
    case.heard("study", "", {"name": "n", "key": "k"}, 1.0, 201, {"id": "other"})
    return "I5"


def a_bug_answers_with_500(case: Case) -> str:
    case.heard("lease", "", {"worker": "w1"}, 11.0, 500)
    return "I5"


def a_database_outage_looks_like_a_deletion(case: Case) -> str:
    case.heard("heartbeat", "l0.2", {"token": 2, "step": 1}, 14.0, 404)
    return "I5"


def a_repeated_report_gets_another_verdict(case: Case) -> str:
    report = {"token": 2, "step": 5, "metrics": SCORES}
    case.heard("reports", "l0.2", report, 14.3, 200, {"action": "prune"})
    return "I6"


def a_repeated_result_is_refused(case: Case) -> str:
    case.heard("result", "l0.2", {"token": 2, "metrics": BETTER}, 18.0, 409, {"error": "LeaseLost"})
    return "I6"


def a_lost_lease_comes_back(case: Case) -> str:
    case.operations = [o for o in case.operations if o.lease != "l0.2" and o.kind != "lease"]
    case.heard("result", "l0.2", {"token": 2, "metrics": BETTER}, 14.4, 204)
    case.heard("heartbeat", "l0.1", {"token": 1, "step": 3}, 14.3, 200, {"action": "continue"})
    return "I6"


def a_lease_request_is_granted_twice(case: Case) -> str:
    case.attempts[1]["request"] = case.attempts[2]["request"]
    return "I6"


def a_study_runs_more_than_it_may(case: Case) -> str:
    case.attempts[2]["started"] = 14.0
    case.study["device_seconds"] = 6.0
    return "I7"


def a_trial_begins_after_the_budget_is_spent(case: Case) -> str:
    case.study["definition"]["budget"]["gpu_hours"] = 1.0 / 3600
    return "I7"


def a_worker_in_quarantine_is_given_a_trial(case: Case) -> str:
    """Of ten trials three fail with it that another could have trained; then it gets a fourth."""
    for number in range(4):
        row = attempt(1, 2 + number, "w3", 20.0 + 10 * number, 21.0 + 10 * number, "failed")
        case.attempts.append(row | {"cause": "error"})
    return "I7"


def a_number_is_missing(case: Case) -> str:
    case.study["next_number"] = 3
    return "I9"


def a_retry_adds_a_trial(case: Case) -> str:
    case.study["definition"]["budget"]["trials"] = 1
    return "I9"


def a_count_disagrees_with_the_rows(case: Case) -> str:
    case.study["running"] = 1
    return "I9"


BROKEN: list[Callable[[Case], str]] = [
    a_trial_never_ends,
    a_study_never_ends,
    a_completed_trial_is_leased_again,
    an_ended_state_contradicts_its_last_attempt,
    two_results_are_accepted,
    nobody_sent_the_recorded_scores,
    two_leases_overlap,
    a_token_is_given_twice,
    a_lease_was_granted_and_forgotten,
    a_lease_is_told_to_another_worker,
    a_lease_lapses_early,
    a_zombie_beats_after_a_newer_grant,
    a_zombie_completes_after_a_newer_grant,
    an_acknowledged_report_is_gone,
    other_scores_are_stored_than_were_sent,
    an_acknowledged_result_is_gone,
    an_acknowledged_object_is_gone,
    an_acknowledged_study_is_gone,
    a_bug_answers_with_500,
    a_database_outage_looks_like_a_deletion,
    a_repeated_report_gets_another_verdict,
    a_repeated_result_is_refused,
    a_lost_lease_comes_back,
    a_lease_request_is_granted_twice,
    a_study_runs_more_than_it_may,
    a_trial_begins_after_the_budget_is_spent,
    a_worker_in_quarantine_is_given_a_trial,
    a_number_is_missing,
    a_retry_adds_a_trial,
    a_count_disagrees_with_the_rows,
]


@pytest.mark.parametrize("breaks", BROKEN, ids=lambda breaks: breaks.__name__)
def test_is_found_if(breaks: Callable[[Case], str], case: Case) -> None:
    invariant = breaks(case)
    assert invariant in case.broken()


def test_every_invariant_can_be_broken(case: Case) -> None:
    assert {breaks(copy.deepcopy(case)) for breaks in BROKEN} == set(CHECKS)
