"""Two services on one database, and a worker that asks both."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from sqlalchemy import Engine

from tests.model.replica import Answer, Call, Replica
from tests.model.rows import Rows, look, violations
from tests.model.scene import NORMS, RUNGS, STEPS, definition

API = "/api/v1"


class Pair:
    """Two services on one database, and a worker with room for eight trials.

    SQLite has one process in production; two are played here all the same, because a second one
    (a command line, a restart that overlaps) must not break a promise either.
    """

    def __init__(self, engine: Engine, replicas: list[Replica]) -> None:
        self.engine, self.replicas, self.loop = engine, replicas, replicas[0].loop
        body = {"name": "w", "devices": [{"kind": "cpu", "name": "cpu"}], "slots": 8}
        self.worker = self.send(Call("register", f"{API}/workers", body)).json["id"]

    def send(self, call: Call) -> Answer:
        return self.replicas[0].send(call)[0]

    def at_once(self, *calls: Call) -> list[Answer]:
        """All at the same time, the services in turn."""

        async def all_of_them() -> list[Answer]:
            services = itertools.cycle(self.replicas)
            return await asyncio.gather(*(next(services).call(call) for call in calls))

        return self.loop.run_until_complete(all_of_them())

    def sound(self, before: Rows) -> Rows:
        """The rows now, which must not have broken a promise since."""
        after = look(self.engine)
        assert violations(before, after, moves=4) == []
        return after

    def study(self, **changes: Any) -> str:
        """A study with its start made and its recipes waiting."""
        study = self.send(self.submitting("raced", **changes)).json["id"]
        self.send(self.result(self.lease(), start=True))
        return str(study)

    def submitting(self, name: str, *, key: str | None = None, **changes: Any) -> Call:
        headers = {} if key is None else {"idempotency-key": key}
        return Call("submit", f"{API}/studies", definition(name, **changes), headers=headers)

    def steering(self, act: str, study: str) -> Call:
        path = f"{API}/studies/{study}"
        deletes = act == "delete"
        return Call(act, path, method="DELETE") if deletes else Call(act, f"{path}/{act}")

    def asking(self, *, word: str | None = None, capacity: int = 1) -> Call:
        body = {"worker": self.worker, "capacity": capacity, "request": word}
        return Call("lease", f"{API}/leases", body)

    def lease(self) -> Any:
        return self.send(self.asking()).json[0]

    def result(self, lease: Any, *, score: float = 30.0, start: bool = False) -> Call:
        content = {"step": STEPS, "metrics": {"psnr_y": score, "mdsi": 0.1}}
        if start:
            content["start"] = self.replicas[0].store(b"start")
            content["calibration"] = {"norms": NORMS, "values": NORMS, "batches": 8}
        return self.saying("result", lease, **content)

    def report(self, lease: Any, *, score: float = 20.0) -> Call:
        metrics = {"psnr_y": score, "mdsi": 0.2}
        return self.saying(
            "reports",
            lease,
            step=RUNGS[1],
            metrics=metrics,
            earlier=[{"step": RUNGS[0], "metrics": metrics}],
            checkpoint={"blob": self.replicas[0].store(b"state"), "step": RUNGS[1]},
        )

    def saying(self, what: str, lease: Any, **content: Any) -> Call:
        return Call(
            what, f"{API}/leases/{lease['id']}/{what}", {"token": lease["token"], **content}
        )
