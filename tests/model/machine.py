"""A state machine that plays people, workers, time and accidents against the service.

Numbers that hypothesis draws choose among what there is at that moment, so that an example shrinks
to the few steps that matter. No rule depends on what is there: of requests that come together now
one wins and now the other, and an example must be the same when it is played again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from sqlalchemy import delete
from sqlalchemy.orm import Session

from service.models import Owner
from tests.model.book import Broken
from tests.model.replica import Call
from tests.model.rows import age, differences, look
from tests.model.scene import LEASE_SECONDS, RUNGS, definition
from tests.model.stage import API, CAUSES, NOBODY, NOWHERE, Stage

STUDIES: list[dict[str, Any]] = [
    {},
    {"budget": {"trials": 2}, "confirm": {"candidates": 1, "seeds": 1}},
    {"max_running": 1, "priority": 5, "budget": {"trials": 9}},
    {"max_running": 2, "budget": {"trials": 6}, "weight": 3.0},
    {"labels": {"gpu": "big"}, "memory_gb": 10.0, "priority": 5},
    {"budget": {"trials": 4, "wall_hours": 1.9}},
    {"budget": {"trials": 4, "gpu_hours": 3.1}, "confirm": {"candidates": 2, "seeds": 1}},
    {
        "budget": {"trials": 8},
        "pruning": {"method": "transfer", "transfer": 0.0, "after": 0.25, "trials": 3, "keep": 0.3},
    },
]  # fmt: skip
WORKERS: list[dict[str, Any]] = [
    {"name": "plain", "slots": 1, "memory": 8 * 10**9, "labels": {}},
    {"name": "roomy", "slots": 4, "memory": 8 * 10**9, "labels": {}},
    {"name": "big", "slots": 2, "memory": 24 * 10**9, "labels": {"gpu": "big"}},
    {"name": "odd", "slots": 1, "memory": 8 * 10**9, "labels": {"room": "2"}},
]
SAYINGS = ["heartbeat", "report", "result", "failure", "release"]
ACTS = ["pause", "resume", "stop", "delete"]

some = st.integers(0, 999)
few = st.integers(0, 3)


class Machine(Stage):
    """Steps that anybody may take at any time; after each of them every promise is checked."""

    # -- people ----------------------------------------------------------------------------------

    @initialize(kinds=st.lists(st.integers(0, len(STUDIES) - 1), min_size=1, max_size=2))
    def begin(self, kinds: list[int]) -> None:
        """A fleet, and studies whose start is made."""
        for number in range(len(WORKERS)):
            self.register(number)
        for kind in kinds:
            self.submit(kind, None)
            study = list(self.book.studies)[-1]
            worker = self._worker("big")
            while not self.book.studies[study]["calibrated"]:
                for lease in self._ask(worker, 1, None):
                    self._say("result", lease["id"], 1, 0)

    @rule(kind=st.integers(0, len(STUDIES) - 1), key=st.sampled_from([None, "k1", "k2"]))
    def submit(self, kind: int, key: str | None) -> None:
        headers = {} if key is None else {"idempotency-key": key}
        body = definition(f"study {kind}", **STUDIES[kind])
        self._send(Call("submit", f"{API}/studies", body, headers=headers))

    @rule(which=some, act=st.sampled_from(ACTS))
    def steer(self, which: int, act: str) -> None:
        study = self._pick(list(self.book.studies) or [NOBODY], which)
        path = f"{API}/studies/{study}"
        deletes = act == "delete"
        self._send(Call(act, path, method="DELETE") if deletes else Call(act, f"{path}/{act}"))

    @rule(which=some, tenths=st.integers(1, 9))
    def enqueue(self, which: int, tenths: int) -> None:
        study = self._pick(list(self.book.studies) or [NOBODY], which)
        shares = {"l1": tenths / 10, "content": 1 - tenths / 10, "edge": 0.0}
        self._send(Call("enqueue", f"{API}/studies/{study}/trials", {"shares": shares}))

    @rule(limit=st.sampled_from([None, 1, 2, 3]))
    def quota(self, limit: int | None) -> None:
        """An operator limits what one owner may run."""
        with Session(self.engine) as session:
            session.execute(delete(Owner))
            if limit is not None:
                session.add(Owner(name="local", weight=1.0, max_running=limit))
            session.commit()
        self.book.quotas["local"] = limit
        self.rows = look(self.engine)

    # -- workers ---------------------------------------------------------------------------------

    @rule(number=few)
    def register(self, number: int) -> None:
        known = WORKERS[number]
        device = {"kind": "cuda", "name": "card", "memory": known["memory"]}
        body = {key: known[key] for key in ("name", "slots", "labels")}
        self._send(Call("register", f"{API}/workers", {**body, "devices": [device]}))

    @rule(number=few)
    def drain(self, number: int) -> None:
        worker = self._worker(WORKERS[number]["name"])
        self._send(Call("drain", f"{API}/workers/{worker}/drain"))

    @rule(number=few, capacity=st.integers(1, 4), word=st.sampled_from([None, "a", "b", "c"]))
    def lease(self, number: int, capacity: int, word: str | None) -> None:
        self._ask(self._worker(WORKERS[number]["name"]), capacity, word)

    @rule(which=some, step=some)
    def beat(self, which: int, step: int) -> None:
        self._say("heartbeat", self._holder(which), step, 0)

    @rule(which=some, what=some, score=st.integers(0, 9))
    def report(self, which: int, what: int, score: int) -> None:
        self._say("report", self._holder(which), what, score)

    @rule(which=some, score=st.integers(0, 9))
    def complete(self, which: int, score: int) -> None:
        self._say("result", self._holder(which), 0, score)

    @rule(which=some, cause=st.integers(0, len(CAUSES) - 1))
    def fail(self, which: int, cause: int) -> None:
        self._say("failure", self._holder(which), cause, 0)

    @rule(which=some, saying=st.sampled_from(["report", "result", "release"]))
    def say_nonsense(self, which: int, saying: str) -> None:
        """A message that cannot be right: scores are missing, or an object was never uploaded."""
        call = self._saying(saying, self._holder(which), 1, 0)
        assert call.body is not None
        if saying == "result":
            body = {**call.body, "metrics": {"psnr_y": 30.0}, "start": None}
        else:
            body = {**call.body, "checkpoint": {"blob": NOWHERE, "step": 80}}
        self._send(replace(call, body=body))

    @rule(which=some, what=some)
    def give_back(self, which: int, what: int) -> None:
        self._say("release", self._holder(which), what, 0)

    @rule(which=some, score=st.integers(0, 9))
    def train(self, which: int, score: int) -> None:
        """A training without accidents: every rung, then the result."""
        lease = self._holder(which)
        for rung in range(len(RUNGS)):
            self._say("report", lease, rung, score)
        self._say("result", lease, 0, score)
        self.propose()

    @rule(which=some, saying=st.sampled_from(SAYINGS), what=some, score=st.integers(0, 9))
    def zombie(self, which: int, saying: str, what: int, score: int) -> None:
        """Somebody whose lease is over speaks as if it were not."""
        over = [key for key, a in self.book.attempts.items() if a["outcome"] != "running"]
        self._say(saying, self._pick(over or [NOBODY], which), what, score)

    @rule(which=some, saying=st.sampled_from(SAYINGS), token=st.integers(0, 9))
    def stranger(self, which: int, saying: str, token: int) -> None:
        """Somebody speaks about a lease with a token that is not its own."""
        lease = self._pick(list(self.book.attempts) or [NOBODY], which)
        token += token >= self._token(lease)
        self._send(self._saying(saying, lease, 0, 0, token=token))

    # -- the wire --------------------------------------------------------------------------------

    @rule(which=some, saying=st.sampled_from(SAYINGS), what=some, score=st.integers(0, 9))
    def say_later(self, which: int, saying: str, what: int, score: int) -> None:
        """A message that is still on its way."""
        lease = self._holder(which)
        self.bag.append(self._saying(saying, lease, what, score))

    @rule(which=some)
    def deliver(self, which: int) -> None:
        """Any request of the past arrives, for the first time or once more."""
        self._send(self._pick(self.bag, which), again=True)

    @rule(which=st.lists(some, min_size=2, max_size=3), numbers=st.lists(few, max_size=2))
    def storm(self, which: list[int], numbers: list[int]) -> None:
        """Several requests at the same time, equal ones among them."""
        calls = [self._pick(self.bag, index) for index in which]
        for number in numbers[: 4 - len(calls)]:
            worker = self._worker(WORKERS[number]["name"])
            calls.append(Call("lease", f"{API}/leases", {"worker": worker, "capacity": 2}))
        self._send(*calls, again=True)

    @rule(which=some, statement=st.integers(0, 12))
    def broken_off(self, which: int, statement: int) -> None:
        """The database goes away in the middle of a request; its client asks again."""
        call = self._pick(self.bag, which)
        replica = self._replica()
        self._store(replica, call)
        with self.accident.at_statement(replica.database.engine, statement):
            answer = replica.send(call)[0]
        after = look(self.engine)
        if answer.status != 503:
            self._judge([call], [answer], after)
            return
        if found := differences(self.rows, after):
            raise Broken(f"{call} was answered 503 and changed {found}")
        self.counts["answer 503"] += 1
        self._send(call, again=True)

    # -- time and the service itself -------------------------------------------------------------

    @rule(leases=st.sampled_from([0.4, 1.2]))
    def time_passes(self, leases: float) -> None:
        age(self.engine, leases * LEASE_SECONDS)
        self.book.clock += leases * LEASE_SECONDS
        self.rows = look(self.engine)

    @rule()
    def sweep(self) -> None:
        lapsed = self._replica().sweep()
        after = look(self.engine)
        self.book.swept(lapsed, after)
        self._settle(after)

    @rule()
    def propose(self) -> None:
        self._replica().propose()
        after = look(self.engine)
        self.book.proposed(after)
        self._settle(after)

    @rule()
    def restart(self) -> None:
        """A new process on the same database."""
        self._replica().restart()
