"""Sixteen workers that train nothing: lease, reports, result, over and over; in a process of its own.

    python -m benchmarks.control_plane_load '{"urls": [...], "token": ..., ...}'

Reads a `Load` as JSON, prints a `Tally` as JSON. A client that gets no trial waits as the service
directs, as a worker would. Every status that is not the one expected ends the run.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import control_plane_study as study
from benchmarks.control_plane_wire import Wire


@dataclass(frozen=True)
class Load:
    """What to do, and for how long."""

    urls: list[str]
    token: str
    clients: int = 16
    batched: bool = True
    #: Before the clock starts: the sampler reads the past, as Optuna does before its clock.
    warm_seconds: float = 3.0
    seconds: float = 5.0
    #: Ends after so many cycles instead of by time.
    cycles: int | None = None
    name: str = "load"
    #: Submits studies of so many trials as they are used up, instead of working on what is there.
    study_trials: int | None = None


@dataclass
class Tally:
    """What happened inside of the measured time; `all_cycles` counts the warm-up too."""

    seconds: float = 0.0
    cycles: int = 0
    all_cycles: int = 0
    all_requests: int = 0
    empty: int = 0  #: asked for a trial, and there was none
    generator_cpu: float = 0.0  #: share of one core this process took
    #: Seconds: one lease request that got a trial; from wanting a trial to having one; a report
    #: request; a result request.
    lease: list[float] = field(default_factory=list)
    wanting: list[float] = field(default_factory=list)
    report: list[float] = field(default_factory=list)
    result: list[float] = field(default_factory=list)


class Clients:
    """The clients of one run and their common tally."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.tally = Tally()
        self._from = self._until = 0.0

    async def run(self) -> Tally:
        """All clients side by side; the tally of them."""
        begun = time.perf_counter()
        self._from = begun + self.load.warm_seconds
        self._until = self._from + self.load.seconds
        cpu = time.process_time()
        clients = [self._client(index) for index in range(self.load.clients)]
        await asyncio.gather(self._submit(), *clients)
        ended = time.perf_counter()
        self.tally.generator_cpu = (time.process_time() - cpu) / (ended - begun)
        self.tally.seconds = self.load.seconds
        if self.load.cycles is not None:
            self.tally.seconds = ended - self._from
        return self.tally

    def _goes_on(self) -> bool:
        if self.load.cycles is not None:
            return self.tally.all_cycles < self.load.cycles
        return time.perf_counter() < self._until

    async def _submit(self) -> None:
        """Have one study in work and one in store until there are enough trials for all cycles."""
        if self.load.study_trials is None or self.load.cycles is None:
            return
        wire = await Wire.to(self.load.urls[0], self.load.token)
        for submitted in range(0, self.load.cycles, self.load.study_trials):
            while self.tally.all_cycles < submitted - self.load.study_trials:
                await asyncio.sleep(0.05)
            name = f"{self.load.name}-{submitted}"
            await wire.post("/studies", study.definition(name, trials=self.load.study_trials), 201)
        wire.close()

    async def _client(self, index: int) -> None:
        wire = await Wire.to(self.load.urls[index % len(self.load.urls)], self.load.token)
        worker = await register(wire, f"{self.load.name}-{index}")
        while self._goes_on():
            lease = await self._lease(wire, worker)
            if lease is not None:
                await self._cycle(wire, lease)
        wire.close()

    async def _lease(self, wire: Wire, worker: str) -> dict[str, Any] | None:
        """A trial, or None when the time is over before there was one."""
        wanted = time.perf_counter()
        while self._goes_on():
            asked = time.perf_counter()
            body = json.dumps({"worker": worker, "capacity": 1}).encode()
            status, headers, leases = await wire.ask("POST", "/leases", body, 200, 204)
            self.tally.all_requests += 1
            if status == 200:
                self._note(self.tally.lease, asked)
                self._note(self.tally.wanting, wanted)
                lease: dict[str, Any] = leases[0]
                return lease
            self.tally.empty += self._measured()
            await asyncio.sleep(poll_after(headers))
        return None

    async def _cycle(self, wire: Wire, lease: dict[str, Any]) -> None:
        path, token = f"/leases/{lease['id']}", lease["token"]
        if lease["job"]["kind"] == "start":
            await hand_in_start(wire, lease)
            return
        scored = {study.OBJECTIVE: study.score(lease["job"]["weights"])}
        for body in self._reports(token, scored):
            begun = time.perf_counter()
            verdict = await wire.post(f"{path}/reports", body, 200)
            assert verdict["action"] == "continue", verdict
            self.tally.all_requests += 1
            self._note(self.tally.report, begun)
        begun = time.perf_counter()
        result = {"token": token, "metrics": scored, "step": study.STEPS, "train_seconds": 1.0}
        await wire.post(f"{path}/result", result, 204)
        self.tally.all_requests += 1
        self._note(self.tally.result, begun)
        self.tally.all_cycles += 1
        self.tally.cycles += self._measured()

    def _reports(self, token: int, scored: dict[str, float]) -> list[dict[str, Any]]:
        """Ten rungs, in one request or one by one."""
        rungs = [{"step": step, "metrics": scored} for step in study.RUNGS]
        if self.load.batched:
            return [{"token": token, **rungs[-1], "earlier": rungs[:-1]}]
        return [{"token": token, **rung} for rung in rungs]

    def _measured(self) -> bool:
        now = time.perf_counter()
        return self._from <= now and (self.load.cycles is not None or now < self._until)

    def _note(self, times: list[float], begun: float) -> None:
        if self._measured():
            times.append(time.perf_counter() - begun)


async def register(wire: Wire, name: str) -> str:
    """The id of a worker of this name with one processor."""
    body = {"name": name, "devices": [{"kind": "cpu", "name": "cpu"}]}
    found: str = (await wire.post("/workers", body, 200))["id"]
    return found


def poll_after(headers: dict[str, str]) -> float:
    """Seconds to wait before asking again, as the service directs."""
    return float(headers.get("srtune-poll-after") or headers["retry-after"])


async def hand_in_start(wire: Wire, lease: dict[str, Any]) -> None:
    """Complete a study's start job."""
    digest = study.start_digest()
    kind = "application/octet-stream"
    await wire.ask("PUT", f"/blobs/{digest}", study.START, 200, 201, content_type=kind)
    await wire.post(f"/leases/{lease['id']}/result", study.start_result(lease["token"]), 204)


def main() -> None:
    load = Load(**json.loads(sys.argv[1]))
    print(json.dumps(asdict(asyncio.run(Clients(load).run()))))


if __name__ == "__main__":
    main()
