"""A past for both sides: finished trials with six numbers, ten reports and a score, in bulk.

Our study is submitted and its start job done over HTTP by the service itself; only the finished
trials are written straight into the tables, with the counts the service would have kept.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import FloatDistribution, distribution_to_json
from optuna.storages._rdb import models as theirs
from optuna.trial import TrialState as Theirs
from sqlalchemy import Engine, create_engine, delete, insert, make_url, select, text, update

from benchmarks import control_plane_study as study
from benchmarks.control_plane_load import hand_in_start, poll_after, register
from benchmarks.control_plane_service import make_token, serving
from benchmarks.control_plane_wire import Wire
from service.contract.trial import TrialKind, TrialState
from service.models import Attempt, Report, Study, Trial

DISTRIBUTION = FloatDistribution(study.LOW, study.HIGH, log=True)
_SOME = 500
#: Seconds a finished trial of the past took.
_TOOK = 60.0


def points(count: int) -> Iterator[dict[str, float]]:
    """Points of the space, log-uniform; the same ones for both sides."""
    dice = random.Random(5)
    low, high = math.log(study.LOW), math.log(study.HIGH)
    for _ in range(count):
        yield {term: math.exp(dice.uniform(low, high)) for term in study.TERMS}


def seed_ours(data: Path, database: str | None, url: str, finished: int) -> str:
    """A calibrated study with so many finished trials; the token to work on it with."""
    token = make_token(data, database)
    with serving(data, database) as (service,):
        asyncio.run(_calibrate(service.url, token))
    engine = create_engine(driven(url))
    with engine.begin() as connection:
        past = connection.execute(select(Study.id, Study.created)).one()
        # Whatever was proposed already would now come before what it could have learnt from.
        connection.execute(delete(Trial).where(Trial.state == TrialState.QUEUED))
        for rows in _in_parts(list(enumerate(points(finished), start=1))):
            _insert_ours(connection, past.id, past.created, rows)
        connection.execute(
            update(Study).values(
                next_number=finished + 1,
                clock=2 * finished + 2,
                revision=11 * finished + 100,
                searched=finished,
                unfinished=0,
                running=0,
                attempts_ended=finished + 1,
                device_seconds=_TOOK * finished,
            )
        )
    _settle(engine)
    return token


async def _calibrate(url: str, token: str) -> None:
    wire = await Wire.to(url, token)
    await wire.post("/studies", study.definition(), 201)
    worker = await register(wire, "seeder")
    while True:
        body = json.dumps({"worker": worker}).encode()
        status, headers, leases = await wire.ask("POST", "/leases", body, 200, 204)
        if status == 200:
            await hand_in_start(wire, leases[0])
            wire.close()
            return
        await asyncio.sleep(poll_after(headers))


def _insert_ours(
    connection: Any, study_id: str, at: float, rows: list[tuple[int, dict[str, float]]]
) -> None:
    trials, attempts, reports = [], [], []
    for number, weights in rows:
        uid, scored = f"{study_id}-{number}", {study.OBJECTIVE: study.score(weights)}
        total = sum(weights.values())
        trials.append(
            {
                "uid": uid, "study_id": study_id, "number": number, "kind": TrialKind.SEARCH,
                "origin": "sampler", "note": "", "state": TrialState.COMPLETE, "reason": "",
                "seed": 0, "coordinates": {f"weight.{key}": w for key, w in weights.items()},
                "shares": {key: w / total for key, w in weights.items()}, "weights": weights,
                "metrics": scored, "step": study.STEPS, "steps_per_second": 20.0,
                "train_seconds": _TOOK, "created": at, "finished": at + _TOOK, "token": 1,
                "lease_id": f"past{number}", "worker_id": "past", "attempts": 1, "not_before": 0.0,
                "proposed_clock": 2 * number, "leased_clock": 2 * number + 1,
                "finished_clock": 2 * number + 2, "revision": 11 * number + 99, "told_revision": -1,
            }
        )  # fmt: skip
        attempts.append(
            {
                "trial_uid": uid, "token": 1, "lease_id": f"past{number}", "worker_id": "past",
                "started": at, "together": 1, "resumed_step": 0, "ended": at + _TOOK,
                "outcome": "complete", "reason": "",
            }
        )  # fmt: skip
        reports += [
            {
                "trial_uid": uid, "step": step, "study_id": study_id, "token": 1,
                "revision": 11 * number + 88 + place, "metrics": scored, "verdict": "continue",
                "reason": "", "at": at,
            }
            for place, step in enumerate(study.RUNGS)
        ]  # fmt: skip
    connection.execute(insert(Trial), trials)
    connection.execute(insert(Attempt), attempts)
    connection.execute(insert(Report), reports)


def seed_optuna(url: str, finished: int) -> None:
    """Optuna's own tables with a study of so many finished trials."""
    storage = optuna.storages.RDBStorage(driven(url))
    optuna.create_study(storage=storage, study_name="benchmark", direction="maximize")
    engine = storage.engine
    at, json_of = datetime.now(UTC).replace(tzinfo=None), distribution_to_json(DISTRIBUTION)
    with engine.begin() as connection:
        for rows in _in_parts(list(enumerate(points(finished), start=1))):
            _insert_theirs(connection, rows, at, json_of)
        if finished and engine.dialect.name == "postgresql":
            connection.execute(
                text("SELECT setval('trials_trial_id_seq', (SELECT max(trial_id) FROM trials))")
            )
    storage.remove_session()
    _settle(engine)


def _insert_theirs(
    connection: Any, rows: list[tuple[int, dict[str, float]]], at: datetime, distribution: str
) -> None:
    finite = theirs.TrialValueModel.TrialValueType.FINITE
    reported = theirs.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
    connection.execute(
        insert(theirs.TrialModel.__table__),
        [
            {
                "trial_id": number, "number": number - 1, "study_id": 1, "state": Theirs.COMPLETE,
                "datetime_start": at, "datetime_complete": at,
            }
            for number, _ in rows
        ],
    )  # fmt: skip
    connection.execute(
        insert(theirs.TrialParamModel.__table__),
        [
            {
                "trial_id": number, "param_name": key, "param_value": value,
                "distribution_json": distribution,
            }
            for number, weights in rows
            for key, value in weights.items()
        ],
    )  # fmt: skip
    scores = {number: study.score(weights) for number, weights in rows}
    connection.execute(
        insert(theirs.TrialValueModel.__table__),
        [
            {"trial_id": number, "objective": 0, "value": value, "value_type": finite}
            for number, value in scores.items()
        ],
    )
    connection.execute(
        insert(theirs.TrialIntermediateValueModel.__table__),
        [
            {
                "trial_id": number, "step": step, "intermediate_value": value,
                "intermediate_value_type": reported,
            }
            for number, value in scores.items()
            for step in study.RUNGS
        ],
    )  # fmt: skip


def driven(url: str) -> str:
    """The URL as SQLAlchemy takes it: psycopg 3 for PostgreSQL."""
    return url.replace("postgresql://", "postgresql+psycopg://")


def _in_parts(rows: list[Any]) -> Iterator[list[Any]]:
    for begin in range(0, len(rows), _SOME):
        yield rows[begin : begin + _SOME]


def _settle(engine: Engine) -> None:
    """Let the planner know the sizes, and leave nothing to be written later."""
    if make_url(engine.url).get_backend_name() == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    else:
        with engine.begin() as connection:
            connection.execute(text("ANALYZE"))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    engine.dispose()
