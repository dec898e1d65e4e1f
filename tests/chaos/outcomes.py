"""The checks of rows: how trials ended, and who held them when."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from service.contract.trial import StudyState, TrialState
from service.states import STUDY_ENDS, TRIAL_ENDS
from tests.chaos.evidence import Evidence

#: Outcomes after which the same trial may be tried again.
_RETRIED = {"lapsed", "failed", "released"}
_LAST = {
    TrialState.COMPLETE: {"complete"},
    TrialState.PRUNED: {"pruned"},
    TrialState.DIVERGED: {"diverged"},
    TrialState.FAILED: {"failed", "lapsed"},
    # Cancelled in the queue after an attempt, or in training.
    TrialState.CANCELLED: {"cancelled", *_RETRIED},
}
#: How far two readings of one clock may lie apart.
_SLACK = 0.05


def ends_once(evidence: Evidence) -> Iterator[str]:
    for study in evidence.tables.studies:
        if StudyState(study["state"]) not in STUDY_ENDS:
            yield f"study {study['id']} is {study['state']} and never ended"
    for trial in evidence.tables.trials:
        state, attempts = TrialState(trial["state"]), evidence.attempts_of[trial["uid"]]
        if state not in TRIAL_ENDS:
            yield f"trial {trial['uid']} is {state} and never ended"
            continue
        if attempts and attempts[-1]["outcome"] not in _LAST[state]:
            yield f"trial {trial['uid']} is {state} after an attempt {attempts[-1]['outcome']}"
        if not attempts and state is not TrialState.CANCELLED:
            yield f"trial {trial['uid']} is {state} without any attempt"


def moves_are_legal(evidence: Evidence) -> Iterator[str]:
    for uid, attempts in evidence.attempts_of.items():
        for row in attempts[:-1]:
            if row["outcome"] not in _RETRIED:
                yield f"trial {uid} was leased again after token {row['token']} {row['outcome']}"
        for row in attempts:
            if row["ended"] is None:
                yield f"token {row['token']} of {uid} never ended"


def one_result(evidence: Evidence) -> Iterator[str]:
    for uid, attempts in evidence.attempts_of.items():
        complete = [row for row in attempts if row["outcome"] == "complete"]
        trial = evidence.trials[uid]
        if len(complete) > 1:
            yield f"trial {uid} has {len(complete)} accepted results"
        if (trial["state"] == TrialState.COMPLETE) != bool(complete):
            yield f"trial {uid} is {trial['state']} with {len(complete)} accepted results"
        if complete and complete[-1]["token"] != trial["token"]:
            yield f"trial {uid}: token {complete[-1]['token']} completed it, {trial['token']} was newest"


def result_was_sent(evidence: Evidence) -> Iterator[str]:
    for lease_id, row in evidence.attempts.items():
        if row["outcome"] != "complete":
            continue
        trial = evidence.trials[row["trial_uid"]]
        sent = [w.body for w in evidence.writes_of.get(lease_id, []) if w.kind == "result"]
        if not any(body.get("metrics") == trial["metrics"] for body in sent):
            yield f"trial {trial['uid']}: nobody with its last lease sent the recorded scores"


def tokens_grow(evidence: Evidence) -> Iterator[str]:
    for uid, attempts in evidence.attempts_of.items():
        tokens = [row["token"] for row in attempts]
        if tokens != list(range(1, len(tokens) + 1)):
            yield f"trial {uid} has the tokens {tokens}"
        if tokens and evidence.trials[uid]["token"] != tokens[-1]:
            yield f"trial {uid} has the token {evidence.trials[uid]['token']}, its last lease {tokens[-1]}"
        for earlier, later in itertools.pairwise(attempts):
            if earlier["ended"] is not None and later["started"] < earlier["ended"]:
                yield (
                    f"trial {uid}: token {later['token']} began "
                    f"{earlier['ended'] - later['started']:.6f} s before {earlier['token']} ended"
                )


def grants_are_rows(evidence: Evidence) -> Iterator[str]:
    for one, lease in evidence.grants:
        if lease["study"] not in evidence.studies:
            continue
        row = evidence.attempts.get(lease["id"])
        if row is None:
            yield f"I5 lease {lease['id']} of {lease['uid']} was answered and is in no row"
        elif (row["trial_uid"], row["token"]) != (lease["uid"], lease["token"]):
            yield f"lease {lease['id']} is of {row['trial_uid']} and was answered as {lease['uid']}"
        elif row["worker_id"] != one.body.get("worker"):
            yield f"lease {lease['id']} belongs to {row['worker_id']} and {one.client} was told of it"


def none_lapses_early(evidence: Evidence) -> Iterator[str]:
    """No lease lapses within its time after the grant, or after the last beat that was answered."""
    for lease_id, row in evidence.attempts.items():
        if row["outcome"] != "lapsed":
            continue
        beats = [
            one.begun + evidence.offset
            for one in evidence.writes_of.get(lease_id, [])
            if one.accepted and (one.answer or {}).get("action") == "continue"
        ]
        quiet = row["ended"] - max([row["started"], *beats])
        if quiet < evidence.lease_seconds - _SLACK:
            yield f"lease {lease_id} lapsed {quiet:.3f} s after it was last kept"
