"""What the database holds, and what must hold of any two looks at it, whatever happened between.

Written from the promises, not from the service: states and moves stand here as words again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import Engine, text

Row = dict[str, Any]

STUDY_MOVES = {
    "draft": {"active", "stopped"},
    "active": {"paused", "confirming", "finished", "stopped", "failed"},
    "paused": {"active", "confirming", "stopped", "failed"},
    "confirming": {"paused", "finished", "stopped", "failed"},
    "finished": set[str](),
    "stopped": set[str](),
    "failed": set[str](),
}
TRIAL_ENDS = {"complete", "pruned", "diverged", "failed", "cancelled"}
TRIAL_MOVES = {
    "queued": {"leased", "cancelled"},
    "leased": {"queued", *TRIAL_ENDS},
    **{end: set[str]() for end in TRIAL_ENDS},
}
OUTCOMES = {
    "running",
    "complete",
    "pruned",
    "diverged",
    "failed",
    "released",
    "lapsed",
    "cancelled",
}
#: Columns of a trial that may change after its end: they serve readers and the lab book.
_AFTERTHOUGHTS = {"revision", "told_revision", "run_id"}
#: Columns that every accepted request may change.
_VOLATILE = {"token": {"last_used"}}
_KEYS = {
    "study": ("id",),
    "trial": ("uid",),
    "attempt": ("trial_uid", "token"),
    "report": ("trial_uid", "step"),
    "worker": ("id",),
    "idempotency": ("key",),
    "token": ("sha256",),
    "owner": ("name",),
    "fit": ("study_id", "device"),
    "audit": ("id",),
}
_JSON = {"metrics", "shares", "weights"}
_TIMES = {
    "study": ("created", "started", "finished"),
    "trial": ("created", "finished", "expires", "not_before"),
    "attempt": ("started", "ended"),
    "report": ("at",),
    "worker": ("last_seen",),
    "idempotency": ("created",),
}


@dataclass(frozen=True)
class Rows:
    """All tables at one moment; each row by its key."""

    tables: dict[str, dict[Any, Row]]

    def __getattr__(self, table: str) -> dict[Any, Row]:
        return self.tables[table]

    def attempts_of(self, uid: str) -> list[Row]:
        return [row for row in self.tables["attempt"].values() if row["trial_uid"] == uid]

    def trials_of(self, study: str) -> list[Row]:
        return [row for row in self.tables["trial"].values() if row["study_id"] == study]


def look(engine: Engine) -> Rows:
    """Read every table, at a moment when nobody writes."""
    tables: dict[str, dict[Any, Row]] = {}
    with closing(engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
        for table, keys in _KEYS.items():
            cursor.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in cursor.description or ()]
            rows = [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
            for row in rows:
                for name in _JSON & row.keys():
                    row[name] = _read(row[name])
                for name in _VOLATILE.get(table, ()):
                    del row[name]
            tables[table] = {_key(row, keys): row for row in rows}
    return Rows(tables)


def empty(engine: Engine) -> None:
    """Remove every row, children before parents."""
    with engine.begin() as connection:
        for table in ("report", "attempt", "fit", "trial", "study", *_KEYS):
            connection.exec_driver_sql(f"DELETE FROM {table}")


def age(engine: Engine, seconds: float) -> None:
    """Let time pass: every time in the database moves into the past."""
    with engine.begin() as connection:
        for table, columns in _TIMES.items():
            moved = ", ".join(f"{column} = {column} - :seconds" for column in columns)
            connection.execute(text(f"UPDATE {table} SET {moved}"), {"seconds": seconds})


def differences(before: Rows, after: Rows) -> list[str]:
    """Rows that appeared, went or changed, as sentences."""
    found = []
    for table in before.tables:
        old, new = before.tables[table], after.tables[table]
        changed = [key for key in old.keys() | new.keys() if old.get(key) != new.get(key)]
        found += [f"{table} {key}: {_changes(old.get(key), new.get(key))}" for key in changed]
    return found


def violations(before: Rows, after: Rows, *, moves: int = 1) -> list[str]:
    """Promises that these two looks break; at most `moves` requests came between them."""
    return [
        *_wrong_studies(before, after),
        *_wrong_moves(before, after, moves),
        *_wrong_attempts(before, after),
        *_wrong_reports(before, after),
        *_wrong_counts(after),
    ]


def _wrong_studies(before: Rows, after: Rows) -> list[str]:
    found = []
    for key, study in after.study.items():
        old = before.study.get(key)
        if study["state"] not in STUDY_MOVES:
            found.append(f"study {key} is in the unknown state {study['state']}")
        elif old is not None and study["state"] != old["state"]:
            # A resume may end the study at once: two moves in one transaction.
            nearest = STUDY_MOVES[old["state"]]
            reach = nearest.union(*(STUDY_MOVES[state] for state in nearest))
            if study["state"] not in reach:
                found.append(f"study {key} went from {old['state']} to {study['state']}")
        if old is not None and study["revision"] < old["revision"]:
            found.append(f"study {key} went back from revision {old['revision']}")
    return found


def _wrong_moves(before: Rows, after: Rows, moves: int) -> list[str]:
    found = []
    for key, trial in after.trial.items():
        old = before.trial.get(key)
        if trial["state"] not in TRIAL_MOVES:
            found.append(f"trial {key} is in the unknown state {trial['state']}")
        elif old is None:
            if moves == 1 and trial["state"] not in ("queued", "cancelled"):
                found.append(f"trial {key} began as {trial['state']}")
        elif trial["state"] not in _reach(old["state"], moves):
            found.append(f"trial {key} went from {old['state']} to {trial['state']}")
        elif old["state"] in TRIAL_ENDS and _kept(old) != _kept(trial):
            found.append(f"trial {key} changed after its end: {_changes(old, trial)}")
        elif trial["token"] < old["token"]:
            found.append(f"trial {key} went back from token {old['token']} to {trial['token']}")
        elif (old["state"], trial["state"]) == ("queued", "leased") and trial["token"] == old[
            "token"
        ]:
            found.append(f"trial {key} was leased without a new token")
    return found


def _wrong_attempts(before: Rows, after: Rows) -> list[str]:
    found = []
    for key, attempt in after.attempt.items():
        old = before.attempt.get(key)
        if attempt["outcome"] not in OUTCOMES:
            found.append(f"attempt {key} ended as {attempt['outcome']}, an unknown word")
        if (attempt["ended"] is None) != (attempt["outcome"] == "running"):
            found.append(f"attempt {key} is {attempt['outcome']} and ended at {attempt['ended']}")
        if old is not None and old["outcome"] != "running" and old != attempt:
            found.append(f"attempt {key} changed after its end: {_changes(old, attempt)}")
    for uid, trial in after.trial.items():
        found += _wrong_holders(uid, trial, after.attempts_of(uid))
    return found


def _wrong_holders(uid: str, trial: Row, attempts: list[Row]) -> Iterator[str]:
    """One attempt for every token, and a living one exactly where the trial is leased."""
    tokens = sorted(attempt["token"] for attempt in attempts)
    if tokens != list(range(1, trial["token"] + 1)):
        yield f"trial {uid} has token {trial['token']}, its attempts {tokens}"
    in_order = sorted(attempts, key=lambda attempt: attempt["token"])
    for one, following in pairwise(in_order):
        if one["ended"] is None or following["started"] < one["ended"]:
            yield f"trial {uid} was trained twice at once: {one} and {following}"
    names = ("token", "lease_id", "worker_id")
    living = [[a[name] for name in names] for a in attempts if a["ended"] is None]
    wanted = [[trial[name] for name in names]] if trial["state"] == "leased" else []
    if living != wanted:
        yield f"trial {uid} is {trial['state']}, and its living attempts are {living}"


def _wrong_reports(before: Rows, after: Rows) -> list[str]:
    return [
        f"report {key} changed: {_changes(old, after.report[key])}"
        for key, old in before.report.items()
        if key in after.report and old != after.report[key]
    ]


def _wrong_counts(after: Rows) -> list[str]:
    found = []
    for key, study in after.study.items():
        trials = after.trials_of(key)
        states = [trial["state"] for trial in trials]
        ended = [a for t in trials for a in after.attempts_of(t["uid"]) if a["ended"] is not None]
        recount = {
            "searched": sum(trial["kind"] == "search" for trial in trials),
            "unfinished": sum(state in ("queued", "leased") for state in states),
            "running": states.count("leased"),
            "attempts_ended": len(ended),
            "next_number": len(trials),
        }
        for name, count in recount.items():
            if study[name] != count:
                found.append(f"study {key} says {study[name]} {name}; there are {count}")
        if sorted(trial["number"] for trial in trials) != list(range(len(trials))):
            found.append(f"study {key} has gaps in its numbers")
        seconds = sum(attempt["ended"] - attempt["started"] for attempt in ended)
        if abs(study["device_seconds"] - seconds) > 0.01:
            found.append(f"study {key} says {study['device_seconds']} s of devices, not {seconds}")
    return found


def _reach(state: str, moves: int) -> set[str]:
    reached = {state}
    for _ in range(moves):
        reached |= set[str]().union(*(TRIAL_MOVES[each] for each in reached))
    return reached


def _kept(trial: Row) -> Row:
    return {name: value for name, value in trial.items() if name not in _AFTERTHOUGHTS}


def _read(value: Any) -> Any:
    # PostgreSQL's driver knows JSON by itself, SQLite's does not.
    return json.loads(value) if isinstance(value, str) else value


def _key(row: Row, names: tuple[str, ...]) -> Any:
    return row[names[0]] if len(names) == 1 else tuple(row[name] for name in names)


def _changes(old: Row | None, new: Row | None) -> str:
    if old is None:
        return f"new, {new}"
    if new is None:
        return "gone"
    return ", ".join(f"{k} {old[k]!r} → {new[k]!r}" for k in old if old[k] != new[k])
