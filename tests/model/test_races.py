"""Two at the same moment about one lease, one key or one request: one acts, the other hears it."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from tests.model.pair import API, Pair
from tests.model.replica import Answer, Call
from tests.model.rows import age, look
from tests.model.scene import LEASE_SECONDS

ROUNDS = 8


def test_of_two_results_that_come_together_one_is_recorded(pair: Pair) -> None:
    pair.study(search={"recipes": ["pixel", "paper"]})
    for _ in range(2):
        lease = pair.lease()
        before = look(pair.engine)
        answers = pair.at_once(*(pair.result(lease, score=30.0 + n) for n in range(6)))
        won = [n for n, answer in enumerate(answers) if answer.status == 204]
        assert len(won) == 1
        assert {answer.error for answer in answers} == {None, "IllegalMove"}
        trial = pair.sound(before).trial[lease["job"]["uid"]]
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
        after = pair.sound(before)
        [attempt] = after.attempts_of(lease["job"]["uid"])
        assert (attempt["outcome"] == "complete") == (answers[0].status == 204)
        # Whatever won, the repeats are answered as the first time.
        assert [pair.send(call).status for call in calls] == [a.status for a in answers]
        outcomes.add(attempt["outcome"])
        pair.send(pair.steering("stop", lease["job"]["study_id"]))
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
        trial = pair.sound(before).trial[lease["job"]["uid"]]
        assert (answer.status, lapsed, trial["state"]) in [
            (204, [], "complete"),
            (409, [trial["uid"]], "queued"),
        ]
        pair.send(pair.steering("stop", lease["job"]["study_id"]))


def test_a_repeated_request_for_trials_gets_the_same_leases_wherever_it_comes(pair: Pair) -> None:
    pair.study(search={"recipes": ["pixel", "paper"]})
    for word in ("one", "two"):
        before = look(pair.engine)
        answers = pair.at_once(*[pair.asking(word=word)] * 6)
        given = [[(each["id"], each["token"]) for each in answer.json] for answer in answers]
        assert given == [given[0]] * 6
        after = pair.sound(before)
        assert len(after.attempt) == len(before.attempt) + 1


def test_a_key_that_comes_six_times_at_once_makes_one_study(pair: Pair) -> None:
    for number in range(3):
        call = pair.submitting("keyed", key=f"k{number}")
        answers = pair.at_once(*[call] * 6)
        assert [answer.status for answer in answers] == [201] * 6
        assert len({answer.content for answer in answers}) == 1
    assert len(look(pair.engine).study) == 3


def test_a_stop_and_what_workers_say_at_that_moment_leave_nothing_half_done(pair: Pair) -> None:
    for _ in range(ROUNDS):
        study = pair.study(search={"recipes": ["pixel", "paper"]})
        lease = pair.lease()
        before = look(pair.engine)
        answers = pair.at_once(pair.result(lease), pair.steering("stop", study), pair.asking())
        after = pair.sound(before)
        assert after.study[study]["state"] == "stopped"
        assert {t["state"] for t in after.trials_of(study)} <= {"complete", "cancelled"}
        complete = after.trial[lease["job"]["uid"]]["state"] == "complete"
        assert answers[0].status == (204 if complete else 409)


def test_a_deleted_study_does_not_take_what_another_is_about_to_refer_to(pair: Pair) -> None:
    first = pair.study()
    pair.send(pair.submitting("alike"))
    waits = [pair.lease(), pair.lease()]
    lease = next(each for each in waits if each["job"]["kind"] == "start")
    result = pair.result(lease, start=True)
    assert result.body is not None
    digest = result.body["start"]["sha256"]
    stored = pair.replicas[0].app.state.service.blobs.path(digest)
    # The same bytes, stored long ago; the second worker asks, and need not upload them.
    os.utime(stored, (0, 0))
    assert pair.send(Call("head", f"{API}/blobs/{digest}", method="HEAD")).status == 200
    assert pair.send(pair.steering("delete", first)).status == 204
    assert pair.send(result).status == 204
    assert stored.is_file()
