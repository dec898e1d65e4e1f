"""The checks of answers: what clients were told holds, whatever happened before and after."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.chaos.evidence import Evidence
from tests.chaos.history import ENDS, WRITES, Operation

#: What a worker hears whose trial was ended for it.
_PARTINGS = {"cancelled": "stop", "pruned": "prune"}


def old_leases_are_fenced(evidence: Evidence) -> Iterator[str]:
    for one in evidence.stale_writes():
        if not one.accepted:
            continue
        outcome = evidence.attempts[one.lease]["outcome"]
        if outcome not in _ends(one):
            yield f"{one.kind} of {one.lease} ({outcome}) got {one.status} after a newer lease"


def acknowledged_ends_are_rows(evidence: Evidence) -> Iterator[str]:
    for lease_id, writes in evidence.writes_of.items():
        row = evidence.attempts.get(lease_id)
        if row is None:
            continue
        for one in writes:
            if one.accepted and one.kind in ENDS and row["outcome"] not in _ends(one):
                yield f"{one.kind} of {lease_id} got {one.status}; the attempt is {row['outcome']}"


def acknowledged_reports_are_rows(evidence: Evidence) -> Iterator[str]:
    stored = {(row["trial_uid"], row["step"]): row for row in evidence.tables.reports}
    for lease_id, writes in evidence.writes_of.items():
        row = evidence.attempts.get(lease_id)
        for one in writes:
            if row is None or one.kind != "reports" or not one.accepted:
                continue
            uid, action = row["trial_uid"], (one.answer or {}).get("action")
            rungs = [*one.body.get("earlier", []), one.body]
            for rung in rungs:
                kept = stored.get((uid, rung["step"]))
                if kept is None and action == "continue":
                    yield f"report of {uid} at {rung['step']} got {one.status} and is in no row"
                elif kept and kept["token"] == row["token"] and kept["metrics"] != rung["metrics"]:
                    yield f"report of {uid} at {rung['step']}: other scores are stored than were sent"


def acknowledged_objects_are_kept(evidence: Evidence) -> Iterator[str]:
    stored = set(evidence.tables.blobs)
    for one in evidence.operations:
        stores = one.kind == "blob" and one.body["method"] == "PUT" and one.accepted
        if stores and one.body["sha256"] not in stored:
            yield f"object {one.body['sha256'][:12]} got {one.status} and is not stored"
            stored.add(one.body["sha256"])
    for trial in evidence.tables.trials:
        for column in ("resume_sha256", "weights_sha256"):
            if trial[column] is not None and trial[column] not in stored:
                yield f"trial {trial['uid']} names {trial[column][:12]}, which is not stored"


def repeats_agree(evidence: Evidence) -> Iterator[str]:
    """Reports of the same body get one verdict; ends that were accepted are never refused after."""
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for one in evidence.operations:
        if one.kind == "reports" or one.kind in ENDS:
            by_key[one.key].append(one)
    for same in by_key.values():
        verdicts = {(one.answer or {}).get("action") for one in same if one.accepted}
        ended = evidence.attempts.get(same[0].lease, {}).get("outcome")
        # Whose trial was ended meanwhile hears that instead.
        if len(verdicts - {_PARTINGS.get(str(ended))}) > 1:
            yield f"{same[0].kind} of {same[0].lease} was answered {sorted(map(str, verdicts))}"
        accepted = min((o.ended or 0.0 for o in same if o.accepted), default=None)
        for one in same:
            if accepted is None or not one.refused or one.begun <= accepted:
                continue
            row = evidence.attempts.get(one.lease)
            # A report may come again after its lease was lost; an end stays an end.
            if row is not None and (one.kind in ENDS or row["outcome"] in ("complete", "running")):
                yield f"{one.kind} of {one.lease} was accepted, and refused ({one.status}) later"


def lost_is_final(evidence: Evidence) -> Iterator[str]:
    for lease_id, writes in evidence.writes_of.items():
        lost = min(
            (o.ended or 0.0 for o in writes if o.refused and _error(o) == "LeaseLost"), default=None
        )
        row = evidence.attempts.get(lease_id)
        if lost is None or row is None:
            continue
        for one in writes:
            repeat = row["outcome"] in _ends(one) or (
                one.kind == "reports" and row["outcome"] == "complete"
            )
            # `stop` and `prune` tell a worker the same: it is over.
            goes_on = (one.answer or {}).get("action", "continue") == "continue"
            if one.accepted and one.begun > lost and goes_on and not repeat:
                yield f"{one.kind} of {lease_id} got {one.status} after LeaseLost"


def lease_requests_repeat(evidence: Evidence) -> Iterator[str]:
    """However often a lease request is sent, it is granted once."""
    told: dict[tuple[str, str], list[tuple[str, ...]]] = defaultdict(list)
    for one in evidence.operations:
        if one.kind == "lease" and one.accepted and one.answer and one.body.get("request"):
            key = (one.body["worker"], one.body["request"])
            told[key].append(tuple(sorted(lease["id"] for lease in one.answer)))
    for (worker, request), answers in told.items():
        most = max(answers, key=len)
        if any(not set(leases) <= set(most) for leases in answers):
            yield f"request {request} of {worker} was granted {sorted(set(answers))}"
    granted: Counter[tuple[str, str]] = Counter()
    times: dict[tuple[str, str], set[float]] = defaultdict(set)
    for row in evidence.tables.attempts:
        if row["request"]:
            granted[row["worker_id"], row["request"]] += 1
            times[row["worker_id"], row["request"]].add(row["started"])
    for key, started in times.items():
        if len(started) > 1:
            yield f"request {key[1]} of {key[0]} was granted {granted[key]} leases at {len(started)} times"


def submitted_studies_are_rows(evidence: Evidence) -> Iterator[str]:
    """A study that was answered with 201 is there, and its Idempotency-Key names no other."""
    by_key: dict[str, set[str]] = defaultdict(set)
    for one in evidence.operations:
        if one.kind == "study" and one.accepted:
            study = one.answer["id"]
            by_key[one.body["key"] or one.id].add(study)
            if study not in evidence.studies:
                yield f"study {study} got {one.status} and is in no row"
    for key, studies in by_key.items():
        if len(studies) > 1:
            yield f"Idempotency-Key {key} was answered with the studies {sorted(studies)}"


def no_server_error(evidence: Evidence) -> Iterator[str]:
    """A fault is `try again` (503, 507), never a bug's 500 or a 404 for what is there."""
    seen: Counter[tuple[str, int, str]] = Counter()
    for one in evidence.operations:
        strange = one.status is not None and one.status >= 500 and one.status not in (503, 507)
        vanished = one.status == 404 and one.kind in WRITES
        if strange or vanished:
            seen[one.kind, one.status or 0, _error(one)] += 1
    for (kind, status, error), times in seen.items():
        yield f"{kind} got {status} {error} {times} times"


def _ends(one: Operation) -> set[str]:
    """The outcomes this write gives an attempt when it is accepted."""
    if one.kind == "failure":
        return {"failed", "diverged"}
    return {ENDS[one.kind]} if one.kind in ENDS else set()


def _error(one: Operation) -> str:
    return str(one.answer.get("error", "")) if isinstance(one.answer, dict) else ""
