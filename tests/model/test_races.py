"""Two at the same moment about one lease, one key or one request: one acts, the other hears it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from service.settings import Settings
from tests.model.replica import Answer, Call, Replica
from tests.model.rows import Rows, age, look, violations
from tests.model.scene import LEASE_SECONDS, MAX_ATTEMPTS, NORMS, STEPS, definition, vocabulary

API = "/api/v1"
ROUNDS = 8


class Pair:
    """Two services on one database, and a study whose trials wait.

    SQLite has one process in production; two are played here all the same, because a second one
    (a command line, a restart that overlaps) must not break a promise either.
    """

    def __init__(self, url: str, data: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.engine = create_engine(url)
        settings = Settings(
            data=data, database=url, mlflow=False, lease_seconds=LEASE_SECONDS,
            max_attempts=MAX_ATTEMPTS,
        )  # fmt: skip
        self.replicas = [Replica(self.loop, settings, vocabulary()) for _ in range(2)]
        body = {"name": "w", "devices": [{"kind": "cpu", "name": "cpu"}], "slots": 8}
        self.worker = self.send(Call("register", f"{API}/workers", body)).json["id"]

    def send(self, call: Call) -> Answer:
        return self.replicas[0].send(call)[0]

    def at_once(self, *calls: Call) -> list[Answer]:
        """Each call at another service, all at the same time."""

        async def all_of_them() -> list[Answer]:
            services = itertools.cycle(self.replicas)
            return await asyncio.gather(*(s.call(c) for s, c in zip(services, calls, strict=False)))

        return self.loop.run_until_complete(all_of_them())

    def study(self, **changes: Any) -> str:
        """A study with its start made and its baseline waiting."""
        body = definition("raced", **changes)
        study = self.send(Call("submit", f"{API}/studies", body)).json["id"]
        self.send(self.result(self.lease(), start=True))
        return str(study)

    def asking(self, *, word: str | None = None, capacity: int = 1) -> Call:
        body = {"worker": self.worker, "capacity": capacity, "request": word}
        return Call("lease", f"{API}/leases", body)

    def lease(self) -> Any:
        return self.send(self.asking()).json[0]

    def result(self, lease: Any, *, score: float = 30.0, start: bool = False) -> Call:
        body = {"token": lease["token"], "step": STEPS, "metrics": {"psnr_y": score, "mdsi": 0.1}}
        if start:
            body["start"] = self.replicas[0].store(b"start")
            body["calibration"] = {"norms": NORMS, "values": NORMS, "batches": 8}
        return Call("result", f"{API}/leases/{lease['id']}/result", body)

    def saying(self, what: str, lease: Any, **content: Any) -> Call:
        return Call(what, f"{API}/leases/{lease['id']}/{what}", {"token": lease["token"], **content})

    def close(self) -> None:
        for replica in self.replicas:
            replica.stop()
        self.engine.dispose()
        self.loop.close()


@contextmanager
def _pair(url: str, data: Path) -> Iterator[Pair]:
    pair = Pair(url, data)
    try:
        yield pair
    finally:
        pair.close()


@pytest.fixture
def pair(database_url: str, tmp_path: Path) -> Iterator[Pair]:
    with _pair(database_url, tmp_path) as opened:
        yield opened


def _sound(pair: Pair, before: Rows) -> Rows:
    after = look(pair.engine)
    assert violations(before, after, moves=4) == []
    return after


def test_of_two_results_that_come_together_one_is_recorded(pair: Pair) -> None:
    pair.study(search={"recipes": ["pixel", "paper"]})
    for _ in range(2):
        lease = pair.lease()
        before = look(pair.engine)
        answers = pair.at_once(*(pair.result(lease, score=30.0 + n) for n in range(6)))
        won = [n for n, answer in enumerate(answers) if answer.status == 204]
        assert len(won) == 1
        assert {answer.error for answer in answers} == {None, "IllegalMove"}
        trial = _sound(pair, before).trial[lease["job"]["uid"]]
        assert trial["metrics"]["psnr_y"] == 30.0 + won[0]


@pytest.mark.parametrize(
    ("other", "content"),
    [
        ("failure", {"cause": "error", "message": "it broke"}),
        ("failure", {"cause": "diverged", "message": "NaN"}),
        ("release", {}),
    ],
)
def test_a_lease_ends_once_when_two_ends_come_together(
    pair: Pair, other: str, content: dict[str, Any]
) -> None:
    outcomes = set()
    for _ in range(ROUNDS):
        pair.study()
        lease = pair.lease()
        before = look(pair.engine)
        calls = [pair.result(lease), pair.saying(other, lease, **content)]
        answers = pair.at_once(*calls)
        assert sorted(answer.status for answer in answers) == [204, 409]
        after = _sound(pair, before)
        [attempt] = after.attempts_of(lease["job"]["uid"])
        assert (attempt["outcome"] == "complete") == (answers[0].status == 204)
        # Whatever won, the repeats are answered as the first time.
        assert [pair.send(call).status for call in calls] == [a.status for a in answers]
        outcomes.add(attempt["outcome"])
        pair.send(Call("stop", f"{API}/studies/{lease['job']['study_id']}/stop"))
    assert outcomes


def test_a_lapse_and_a_result_that_come_together_are_one_or_the_other(pair: Pair) -> None:
    for _ in range(ROUNDS):
        pair.study()
        lease = pair.lease()
        age(pair.engine, 1.2 * LEASE_SECONDS)
        before = look(pair.engine)

        async def both(call: Call) -> tuple[Answer, list[str]]:
            swept = asyncio.to_thread(pair.replicas[1].sweep)
            return await asyncio.gather(pair.replicas[0].call(call), swept)

        answer, lapsed = pair.loop.run_until_complete(both(pair.result(lease)))
        trial = _sound(pair, before).trial[lease["job"]["uid"]]
        assert (answer.status, lapsed, trial["state"]) in [
            (204, [], "complete"),
            (409, [trial["uid"]], "queued"),
        ]
        pair.send(Call("stop", f"{API}/studies/{lease['job']['study_id']}/stop"))


def test_a_repeated_request_for_trials_gets_the_same_leases_wherever_it_comes(pair: Pair) -> None:
    pair.study(search={"recipes": ["pixel", "paper"]})
    for word in ("one", "two"):
        before = look(pair.engine)
        answers = pair.at_once(*[pair.asking(word=word)] * 6)
        given = [[(each["id"], each["token"]) for each in answer.json] for answer in answers]
        assert given == [given[0]] * 6
        after = _sound(pair, before)
        assert len(after.attempt) == len(before.attempt) + 1


def test_a_key_that_comes_six_times_at_once_makes_one_study(pair: Pair) -> None:
    for number in range(3):
        call = Call(
            "submit", f"{API}/studies", definition("keyed"),
            headers={"idempotency-key": f"k{number}"},
        )  # fmt: skip
        answers = pair.at_once(*[call] * 6)
        assert [answer.status for answer in answers] == [201] * 6
        assert len({answer.content for answer in answers}) == 1
    assert len(look(pair.engine).study) == 3


def test_a_stop_and_what_workers_say_at_that_moment_leave_nothing_half_done(pair: Pair) -> None:
    for _ in range(ROUNDS):
        study = pair.study(search={"recipes": ["pixel", "paper"]})
        lease = pair.lease()
        before = look(pair.engine)
        answers = pair.at_once(
            pair.result(lease), Call("stop", f"{API}/studies/{study}/stop"), pair.asking()
        )
        after = _sound(pair, before)
        assert after.study[study]["state"] == "stopped"
        assert {t["state"] for t in after.trials_of(study)} <= {"complete", "cancelled"}
        complete = after.trial[lease["job"]["uid"]]["state"] == "complete"
        assert answers[0].status == (204 if complete else 409)
