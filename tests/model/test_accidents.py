"""The database goes away between any two statements of any write: nothing, or all of it, is done.

For what the database sees, a service that is killed there is the same: its transaction ends. So
every point at which a server can die inside of a write is enumerated here, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from service.contract.errors import Unavailable
from tests.model.accident import Accident
from tests.model.pair import Pair
from tests.model.replica import Call
from tests.model.rows import age, differences, look, violations
from tests.model.scene import LEASE_SECONDS

#: More statements than any write has.
_ENOUGH = 80


@dataclass(frozen=True)
class Write:
    """A request that changes something, and what has to be there before."""

    name: str
    prepare: Callable[[Pair], Call]


def _started(pair: Pair) -> str:
    return pair.study(search={"recipes": ["pixel", "paper"]})


def _begun(pair: Pair) -> Call:
    pair.send(pair.submitting("begun"))
    return pair.result(pair.lease(), start=True)


def _last(pair: Pair) -> Call:
    pair.study(budget={"trials": 1})
    return pair.result(pair.lease())


def _about(pair: Pair, what: str, **content: object) -> Call:
    _started(pair)
    return pair.saying(what, pair.lease(), **content)


def _reported(pair: Pair) -> Call:
    _started(pair)
    return pair.report(pair.lease())


def _asked(pair: Pair) -> Call:
    _started(pair)
    return pair.asking(word="once", capacity=2)


def _steered(pair: Pair, act: str) -> Call:
    study = _started(pair)
    pair.lease()
    if act == "resume":
        pair.send(pair.steering("pause", study))
    return pair.steering(act, study)


WRITES = [
    Write("submit", lambda pair: pair.submitting("new", key="k")),
    Write("lease", _asked),
    Write("heartbeat", lambda pair: _about(pair, "heartbeat", step=7)),
    Write("report", _reported),
    Write("result of the start", _begun),
    Write("last result", _last),
    Write("failure", lambda pair: _about(pair, "failure", cause="error", message="it broke")),
    Write("release", lambda pair: _about(pair, "release")),
    *[Write(act, partial(_steered, act=act)) for act in ("pause", "resume", "stop")],
]


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.name)
def test_a_write_that_is_broken_off_anywhere_did_nothing_and_may_be_repeated(
    pair: Pair, write: Write
) -> None:
    call = write.prepare(pair)
    before, accident, broken = look(pair.engine), Accident(), 0
    engine = pair.replicas[0].database.engine
    while True:
        with accident.at_statement(engine, broken):
            answer = pair.send(call)
        if not accident.happened:
            break
        broken += 1
        assert broken < _ENOUGH
        assert (answer.status, answer.error) == (503, "Unavailable")
        assert differences(before, look(pair.engine)) == []
    assert broken > 0
    done = look(pair.engine)
    assert answer.status < 300
    assert differences(before, done)
    assert violations(before, done) == []
    # Its answer was lost; the worker or person asks again, another process answers.
    pair.replicas[0].restart()
    again = pair.send(call)
    assert again.status == answer.status
    if write.name in ("submit", "lease"):
        assert _lasting(again.json) == _lasting(answer.json)
    if write.name != "heartbeat":
        assert _news(differences(done, look(pair.engine))) == []


@pytest.mark.parametrize("done", [False, True], ids=["not-done", "done"])
@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.name)
def test_a_write_whose_commit_was_not_answered_may_be_repeated(
    pair: Pair, write: Write, done: bool
) -> None:
    call = write.prepare(pair)
    before, accident = look(pair.engine), Accident()
    with accident.at_commit(pair.replicas[0].database.engine, done=done):
        answer = pair.send(call)
    assert accident.happened
    assert (answer.status, answer.error) == (503, "Unavailable")
    after = look(pair.engine)
    assert bool(differences(before, after)) is done
    assert pair.send(call).status < 300
    changed = differences(after, look(pair.engine))
    assert _news(changed) == [] if done else changed != []


def test_a_sweep_that_is_broken_off_anywhere_is_made_up_for_by_the_next(pair: Pair) -> None:
    _started(pair)
    leases = [pair.lease(), pair.lease()]
    age(pair.engine, 1.2 * LEASE_SECONDS)
    before, accident, lapsed = look(pair.engine), Accident(), list[str]()
    for statement in range(_ENOUGH):
        with accident.at_statement(pair.replicas[0].database.engine, statement):
            try:
                lapsed += pair.replicas[0].sweep()
            except Unavailable:
                assert accident.happened
        assert violations(before, look(pair.engine), moves=2) == []
        if not accident.happened:
            break
    states = {trial["state"] for trial in pair.sound(before).trial.values()}
    assert states == {"complete", "queued"}
    for lease in leases:
        assert pair.send(pair.result(lease)).error == "LeaseLost"


def _lasting(answer: object) -> object:
    """What does not depend on when the answer was given."""
    if isinstance(answer, list):
        return [{k: v for k, v in lease.items() if k != "expires_in"} for lease in answer]
    return answer


def _news(found: list[str]) -> list[str]:
    """Changes beyond `the worker was heard`."""
    return [one for one in found if not one.startswith("worker") and "expires" not in one]
