"""What locks, clocks and the two engines' settings are for, each shown by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy import select

from service import attempts, dispatch
from service.contract.trial import LeaseRequest
from service.db import Database
from service.models import Study
from service.states import locked
from tests.model.pair import Pair
from tests.model.rows import look
from tests.model.scene import LEASE_SECONDS, MAX_ATTEMPTS, vocabulary

#: Far more than an answer takes, far less than a lock is waited for.
SOON = 5.0


@pytest.fixture
def other(pair: Pair) -> Iterator[Database]:
    """Another process's door to the same database."""
    opened = Database(str(pair.engine.url.render_as_string(hide_password=False)))
    yield opened
    opened.close()


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_study_that_somebody_works_on_is_passed_over_and_not_waited_for(
    pair: Pair, other: Database
) -> None:
    first = pair.study(priority=5, max_running=1, search={"recipes": ["pixel", "paper"]})
    busy = pair.study(priority=1)
    asking = [LeaseRequest(worker=pair.worker), LeaseRequest(worker=pair.worker)]

    def round_of_leases() -> list[str]:
        # As group commit does it: the second request finds the first study full.
        with pair.replicas[0].database.writing() as session:
            dispatch.load(session, asking)
            offers = [dispatch.lease(session, each, lease_seconds=60.0) for each in asking]
        return [lease.job.study_id for offer in offers for lease in offer.leases]

    with ThreadPoolExecutor(1) as pool:
        with other.writing() as session:
            locked(session, busy)
            # Whoever waited here for `busy`, holding `first`, could deadlock with its holder.
            asked = pool.submit(round_of_leases)
            done, _ = wait([asked], timeout=SOON)
        assert done, "the busy study was waited for"
        assert asked.result() == [first]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_transaction_of_sqlite_that_will_write_waits_before_it_reads(
    pair: Pair, other: Database
) -> None:
    study = pair.study()

    def count_up(database: Database) -> None:
        with database.writing() as session:
            row = session.scalars(select(Study).where(Study.id == study)).one()
            found = row.revision
            time.sleep(0.05)
            row.revision = found + 1

    before = look(pair.engine).study[study]["revision"]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            two = [pool.submit(count_up, door) for door in (other, pair.replicas[0].database)]
            for one in two:
                one.result()
    assert look(pair.engine).study[study]["revision"] == before + 10


def test_a_clock_that_jumps_on_the_service_changes_no_lease(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.study()
    lease, real = pair.lease(), time.time
    for jump in (2 * 86_400.0, -3 * 3_600.0):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        assert pair.replicas[0].sweep() == []
        assert pair.send(pair.saying("heartbeat", lease, step=1)).json["action"] == "continue"
        expires = look(pair.engine).trial[lease["job"]["uid"]]["expires"]
        assert expires - real() == pytest.approx(LEASE_SECONDS, abs=60.0)
    monkeypatch.undo()
    assert pair.send(pair.result(lease)).status == 204


def test_a_lease_that_was_prolonged_since_the_reaper_looked_does_not_lapse(pair: Pair) -> None:
    pair.study()
    uid = pair.lease()["job"]["uid"]
    with pair.replicas[0].database.writing() as session:
        lapsed = attempts.lapse(session, uid, vocabulary=vocabulary(), max_attempts=MAX_ATTEMPTS)
    assert not lapsed
    assert look(pair.engine).trial[uid]["state"] == "leased"
