"""How a worker asks for trials while answers are lost, the service is away, or there are none."""

from __future__ import annotations

import random
import time

import pytest

from service.contract.errors import Unauthorized, WorkerNotFound
from service.contract.worker import Registered
from tests.workers import tiny_training as tiny
from tests.workers.small_service import SmallService
from workers.again import Pauses
from workers.leasing import Leasing

WORKER = Registered(id="w1", poll_every=0.2, tracking_uri=None)


@pytest.fixture
def service() -> SmallService:
    return SmallService()


def ask_until_answered(leasing: Leasing) -> None:
    end = time.monotonic() + 10
    while not leasing.due:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_lost_answer_is_asked_for_again_by_the_same_word(
    service: SmallService, tmp_path_factory: pytest.TempPathFactory
) -> None:
    definition = tiny.define(tiny.write_photos(tmp_path_factory.mktemp("photos")))
    service.offer(tiny.job(definition))
    service.offer(tiny.job(definition, uid="u2"))
    service.lost_answers = 2
    leasing = Leasing(service.client(), pause=0.01)
    assert leasing.ask(WORKER, 1, []) == []
    ask_until_answered(leasing)
    assert leasing.ask(WORKER, 1, []) == []
    ask_until_answered(leasing)
    (lease,) = leasing.ask(WORKER, 1, [])
    assert lease.job.uid == "u1"
    assert len({body["request"] for body in service.asks}) == 1
    (other,) = leasing.ask(WORKER, 1, ["st1"])
    assert other.job.uid == "u2"
    assert service.asks[-1]["request"] != service.asks[0]["request"]
    assert service.asks[-1]["cached"] == ["st1"]


def test_every_answered_request_is_followed_by_one_of_another_word(service: SmallService) -> None:
    leasing = Leasing(service.client())
    for _ in range(5):
        leasing.ask(WORKER, 1, [])
    assert len({body["request"] for body in service.asks}) == 5


def test_the_service_says_when_to_ask_again(service: SmallService) -> None:
    service.poll_after = 0.4
    leasing = Leasing(service.client())
    started = time.monotonic()
    leasing.ask(WORKER, 1, [])
    assert not leasing.due
    ask_until_answered(leasing)
    assert time.monotonic() - started >= 0.4


@pytest.mark.parametrize("said", ["soon", "", "nan", "-3", "1e9"])
def test_a_senseless_direction_is_not_followed(service: SmallService, said: str) -> None:
    client = service.client()
    service.poll_after = said  # type: ignore[assignment]  # what a proxy in between may make of it
    leasing = Leasing(client)
    leasing.ask(WORKER, 1, [])
    assert client.poll_after is None or 0 <= client.poll_after <= 300


@pytest.mark.parametrize(
    ("status", "error"), [(503, "Unavailable"), (500, "SrtuneError"), (429, "RateLimited")]
)
def test_a_busy_service_is_asked_again_with_growing_pauses(
    service: SmallService, status: int, error: str
) -> None:
    service.refuse["leases"] = (status, error)
    leasing = Leasing(service.client(), pause=0.05, longest=0.4)
    waits = []
    for _ in range(5):
        assert leasing.ask(WORKER, 1, []) == []
        started = time.monotonic()
        ask_until_answered(leasing)
        waits.append(time.monotonic() - started)
    assert waits[0] < 0.1
    assert waits[4] > 0.15
    assert len({body["request"] for body in service.asks}) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Unauthorized), (404, WorkerNotFound)], ids=["token", "worker"]
)
def test_an_answer_that_says_no_is_passed_on(
    service: SmallService, status: int, kind: type[Exception]
) -> None:
    service.refuse["leases"] = (status, kind.__name__)
    with pytest.raises(kind):
        Leasing(service.client()).ask(WORKER, 1, [])


def test_pauses_grow_to_their_limit_and_never_go_in_step() -> None:
    random.seed(5)
    pauses = [Pauses(1.0, 8.0) for _ in range(100)]
    for limit in (1.0, 2.0, 4.0, 8.0, 8.0):
        now = [each.next() for each in pauses]
        assert all(limit / 2 <= pause <= limit for pause in now)
        assert max(now) - min(now) > limit / 3
    pauses[0].reset()
    assert pauses[0].next() <= 1.0
