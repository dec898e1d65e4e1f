"""The checks that count: limits, budgets, numbers of trials, and the rows' own sums."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from service.attempts import SUSPECT
from service.contract.trial import StudyState, TrialKind, TrialState
from service.states import TRIAL_ENDS
from tests.chaos.evidence import Evidence

#: Rounding of sums of floating-point seconds.
_SECONDS = 0.01
#: Seconds between the decision about a lease and the end of its transaction, at most.
_ON_ITS_WAY = 1.0


def within_limits(evidence: Evidence) -> Iterator[str]:
    for study in evidence.tables.studies:
        limit = study["definition"].get("max_running")
        if limit is None:
            continue
        most = most_at_once(evidence, study["id"])
        if most > limit:
            yield f"study {study['id']} ran {most} trials at once; its limit is {limit}"


def within_budget(evidence: Evidence) -> Iterator[str]:
    """Nothing starts once the device hours are spent; what runs then may end."""
    for study in evidence.tables.studies:
        hours = (study["definition"].get("budget") or {}).get("gpu_hours")
        if hours is None:
            continue
        rows = [r for r in evidence.tables.attempts if evidence.study_of(r) == study["id"]]
        for row in rows:
            at = row["started"]
            # `<`: what was granted in the same transaction saw the same budget.
            spent = sum(min(r["ended"] or at, at) - r["started"] for r in rows if r["started"] < at)
            if spent > hours * 3600 + _SECONDS:
                yield f"study {study['id']} began a trial {spent:.2f} s into {hours * 3600:.2f} s"


def quarantined_get_nothing(evidence: Evidence) -> Iterator[str]:
    """A worker that failed three trials in a row, which others can train, gets no fourth."""
    registered: dict[str, list[float]] = defaultdict(list)
    for one in evidence.operations:
        if one.kind == "register":
            registered[one.body["name"]].append((one.ended or one.begun) + evidence.offset)
    for worker in evidence.tables.workers:
        rows = [r for r in evidence.tables.attempts if r["worker_id"] == worker["id"]]
        in_a_row = 0
        for row in sorted((r for r in rows if r["ended"]), key=lambda r: float(r["ended"])):
            if row["outcome"] in ("complete", "diverged"):
                in_a_row = 0
            elif row["cause"] in ("error", "storage") and _others_can(evidence, row):
                in_a_row += 1
            if in_a_row < SUSPECT:
                continue
            # Who starts again is given another chance; and a request may have been on its way.
            after = row["ended"] + _ON_ITS_WAY
            if not any(at > row["started"] for at in registered[worker["name"]]):
                late = [r for r in rows if r["started"] > after]
                if late:
                    yield f"worker {worker['name']} got {len(late)} trials in quarantine"
            break


def _others_can(evidence: Evidence, row: dict[str, Any]) -> bool:
    return any(
        other["outcome"] == "complete"
        and other["worker_id"] != row["worker_id"]
        and other["ended"] < row["ended"]
        and evidence.study_of(other) == evidence.study_of(row)
        and evidence.trials[other["trial_uid"]]["kind"] != TrialKind.START
        for other in evidence.tables.attempts
    )


def numbers_are_whole(evidence: Evidence) -> Iterator[str]:
    by_study: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for trial in evidence.tables.trials:
        by_study[trial["study_id"]].append(trial)
    for study in evidence.tables.studies:
        trials = by_study[study["id"]]
        numbers = sorted(trial["number"] for trial in trials)
        if numbers != list(range(study["next_number"])):
            yield f"study {study['id']} has {len(numbers)} trials for {study['next_number']} numbers"
        search = sum(trial["kind"] == TrialKind.SEARCH for trial in trials)
        budget = study["definition"]["budget"]["trials"]
        extra = sum(trial["origin"] == "user" for trial in trials)
        if search > budget + extra:
            yield f"study {study['id']} has {search} trials for a budget of {budget}"
        if study["state"] == StudyState.FINISHED and not _timed(study) and search < budget:
            yield f"study {study['id']} finished with {search} trials of {budget}"


def counts_agree(evidence: Evidence) -> Iterator[str]:
    by_study: dict[str, Counter[str]] = defaultdict(Counter)
    for trial in evidence.tables.trials:
        count = by_study[trial["study_id"]]
        count["searched"] += trial["kind"] == TrialKind.SEARCH
        count["unfinished"] += TrialState(trial["state"]) not in TRIAL_ENDS
        count["running"] += trial["state"] == TrialState.LEASED
    seconds: Counter[str] = Counter()
    for row in evidence.tables.attempts:
        if row["ended"] is not None:
            by_study[evidence.study_of(row)]["attempts_ended"] += 1
            seconds[evidence.study_of(row)] += row["ended"] - row["started"]
    for study in evidence.tables.studies:
        for name in ("searched", "unfinished", "running", "attempts_ended"):
            if study[name] != by_study[study["id"]][name]:
                yield f"study {study['id']}: {name} is {study[name]}, by rows {by_study[study['id']][name]}"
        if abs(study["device_seconds"] - seconds[study["id"]]) > _SECONDS:
            yield f"study {study['id']}: {study['device_seconds']:.3f} device seconds, by rows {seconds[study['id']]:.3f}"


def most_at_once(evidence: Evidence, study_id: str) -> int:
    """The largest number of a study's attempts under way at one moment of the database's clock."""
    events: list[tuple[float, int]] = []
    for row in evidence.tables.attempts:
        if evidence.study_of(row) == study_id:
            events.append((row["started"], 1))
            if row["ended"] is not None:
                events.append((row["ended"], -1))
    most = running = 0
    for _, change in sorted(events):  # at one moment ends come before beginnings
        running += change
        most = max(most, running)
    return most


def _timed(study: dict[str, Any]) -> bool:
    budget = study["definition"]["budget"]
    return budget.get("gpu_hours") is not None or budget.get("wall_hours") is not None
