"""Whether the database, the answers and the model agree."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from tests.model.book import Broken, expect
from tests.model.holding import Holding
from tests.model.replica import Answer, Call
from tests.model.rows import Rows, differences, violations


def apply(book: Holding, call: Call, answer: Answer, after: Rows) -> None:
    """Let the model take note of an answer; Broken if it does not allow it."""
    if call.act in ("pause", "resume", "stop", "delete"):
        book.steer(call, answer, after)
    elif call.act in ("lease", "report", "result", "failure"):
        getattr(book, call.act)(call, answer, after)
    else:
        getattr(book, call.act)(call, answer)


def judge(
    book: Holding, calls: Sequence[Call], answers: Sequence[Answer], before: Rows, after: Rows
) -> Holding:
    """The model after these requests, which came at the same time; Broken if a promise is.

    Of several, some order must explain all answers and all rows.
    """
    broken = violations(before, after, moves=2 * len(calls)) + _unaudited(calls, before, after)
    if len(calls) == 1 and answers[0].status >= 400:
        broken += differences(before, after)
    if broken:
        raise Broken("; ".join(broken) + _shown(calls, answers))
    reasons = []
    for order in itertools.permutations(range(len(calls))):
        tried = copy.deepcopy(book) if len(calls) > 1 else book
        try:
            for place in order:
                apply(tried, calls[place], answers[place], after)
            agree(tried, after)
        except Broken as reason:
            reasons.append(f"{order}: {reason}")
            continue
        return tried
    raise Broken("no order explains it: " + "\n".join(reasons) + _shown(calls, answers))


def _unaudited(calls: Sequence[Call], before: Rows, after: Rows) -> list[str]:
    """What people changed without a line in the audit log."""
    noted = {row["subject"] for key, row in after.audit.items() if key not in before.audit}
    changed = set[str]()
    if any(call.act in ("submit", "pause", "resume", "stop", "delete") for call in calls):
        keys = before.study.keys() | after.study.keys()
        changed |= {key for key in keys if _state(before.study, key) != _state(after.study, key)}
    if any(call.act == "drain" for call in calls):
        drained = [key for key, row in after.worker.items() if row["state"] == "draining"]
        changed |= {key for key in drained if _state(before.worker, key) != "draining"}
    told = {call.path.split("/")[4] for call in calls if call.path.count("/") > 4}
    told |= after.study.keys() - before.study.keys()
    return [f"{key} changed, and no one wrote down who did it" for key in changed & told - noted]


def _state(rows: dict[Any, Any], key: str) -> Any:
    return rows[key]["state"] if key in rows else None


def agree(book: Holding, rows: Rows) -> None:
    """Every row is as the model says."""
    found = [*_studies(book, rows), *_trials(book, rows), *_attempts(book, rows)]
    found += [*_reports(book, rows), *_workers(book, rows)]
    expect(not found, "; ".join(found))


def _studies(book: Holding, rows: Rows) -> Iterator[str]:
    yield from _same_keys("study", book.studies, rows.study)
    for key, study in book.studies.items():
        row = rows.study.get(key)
        if row is not None:
            yield from _same(f"study {key}", study, row, "state", "owner", "name")


def _trials(book: Holding, rows: Rows) -> Iterator[str]:
    yield from _same_keys("trial", book.trials, rows.trial)
    for key, trial in book.trials.items():
        row = rows.trial.get(key)
        if row is None:
            continue
        names = ("state", "token", "kind", "origin", "number", "step", "metrics")
        yield from _same(f"trial {key}", trial, row, *names)
        if row["attempts"] != trial["counted"]:
            yield f"trial {key} counts {row['attempts']} attempts, not {trial['counted']}"
        resume = row["resume_sha256"] and (row["resume_sha256"], row["resume_step"])
        if resume != trial["resume"]:
            yield f"trial {key} resumes {resume}, not {trial['resume']}"
        if trial["state"] == "leased" and row["lease_id"] != trial["lease"]:
            yield f"trial {key} has the lease {row['lease_id']}, not {trial['lease']}"


def _attempts(book: Holding, rows: Rows) -> Iterator[str]:
    found = {row["lease_id"]: row for row in rows.attempt.values()}
    yield from _same_keys("lease", book.attempts, found)
    for key, attempt in book.attempts.items():
        row = found.get(key)
        if row is None:
            continue
        yield from _same(f"lease {key}", attempt, row, "token", "outcome", "cause", "resumed_step")
        if (row["worker_id"], row["request"]) != (attempt["worker"], attempt["word"]):
            yield f"lease {key} was given to {row['worker_id']} for {row['request']}"


def _reports(book: Holding, rows: Rows) -> Iterator[str]:
    yield from _same_keys("report", book.reports, rows.report)
    for key, report in book.reports.items():
        row = rows.report.get(key)
        if row is not None:
            yield from _same(f"report {key}", report, row, "token", "metrics", "verdict")


def _workers(book: Holding, rows: Rows) -> Iterator[str]:
    yield from _same_keys("worker", book.workers, rows.worker)
    for key, worker in book.workers.items():
        row = rows.worker.get(key)
        if row is not None:
            yield from _same(f"worker {key}", worker, row, "state", "failures")


def _same_keys(what: str, wanted: dict[Any, Any], found: dict[Any, Any]) -> Iterator[str]:
    if missing := wanted.keys() - found.keys():
        yield f"{what} {sorted(missing)} should be there"
    if surplus := found.keys() - wanted.keys():
        yield f"{what} {sorted(surplus)} should not be there"


def _same(what: str, wanted: Any, row: Any, *names: str) -> Iterator[str]:
    for name in names:
        if row[name] != wanted[name]:
            yield f"{what} has {name} {row[name]!r}, not {wanted[name]!r}"


def _shown(calls: Sequence[Call], answers: Sequence[Answer]) -> str:
    pairs = zip(calls, answers, strict=True)
    return "".join(f"\n  {call}\n    → {answer}" for call, answer in pairs)
