"""Two ends and what follows: a service is killed and started again; a worker dies with its trials."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from benchmarks import control_plane_study as study
from benchmarks.control_plane_cells import drive
from benchmarks.control_plane_load import Load, hand_in_start, poll_after, register
from benchmarks.control_plane_places import Place, Places
from benchmarks.control_plane_service import ROOT, Running, serving, start
from benchmarks.control_plane_wire import Wire

_TTL = 5.0
_HELD = 8
_PATIENCE = 60.0


@dataclass(frozen=True)
class Restarts:
    """Seconds from exec to the first answer that carries a trial."""

    empty: list[float]  #: nothing proposed yet: the whole past is read and a proposal made
    killed: list[float]  #: killed under load, whatever waits in the queue


def restarts(places: Places, finished: int, repeats: int) -> Restarts:
    """Start a service on a long study again and again."""
    empty, killed = [], []
    for _ in range(repeats):
        with places.fresh("PostgreSQL", "ours", finished) as place:
            service = start(place.data, place.database)
            empty.append(asyncio.run(_first_lease(service, place)))
            drive(Load(urls=[service.url], token=place.token, warm_seconds=1.0, seconds=1.0))
            service.kill()
            again = start(place.data, place.database)
            killed.append(asyncio.run(_first_lease(again, place)))
            again.kill()
    return Restarts(empty, killed)


async def _first_lease(service: Running, place: Place) -> float:
    wire = await _connected(service, place)
    worker = await register(wire, "first")
    while True:
        lease, wait = await _asked(wire, worker)
        if lease is not None:
            wire.close()
            return time.perf_counter() - service.begun
        await asyncio.sleep(wait)


async def _connected(service: Running, place: Place) -> Wire:
    while time.perf_counter() < service.begun + _PATIENCE:
        try:
            return await Wire.to(service.url, place.token)
        except OSError:
            await asyncio.sleep(0.005)
    raise SystemExit(f"{service.url} did not listen in {_PATIENCE:.0f} s")


async def _asked(wire: Wire, worker: str) -> tuple[dict[str, Any] | None, float]:
    body = json.dumps({"worker": worker}).encode()
    status, headers, leases = await wire.ask("POST", "/leases", body, 200, 204)
    return (leases[0], 0.0) if status == 200 else (None, poll_after(headers))


def dead_worker(places: Places) -> list[float]:
    """Seconds beyond a lease's time until each trial of a killed worker was leased again."""
    with (
        places.fresh("PostgreSQL", "ours", 0) as place,
        serving(place.data, place.database, lease_seconds=_TTL) as (service,),
    ):
        command = [sys.executable, "-m", "benchmarks.control_plane_ends", service.url, place.token]
        holder = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        held = set(json.loads(holder.stdout.readline()))
        time.sleep(_TTL / 2)
        holder.kill()
        died = time.perf_counter()
        holder.wait()
        found = asyncio.run(_survive(service, place, held))
    return [at - died - _TTL for at in found.values()]


async def _survive(service: Running, place: Place, lost: set[str]) -> dict[str, float]:
    """Work on until every lost trial came again; when each did."""
    found: dict[str, float] = {}

    async def survivor(name: str) -> None:
        wire = await Wire.to(service.url, place.token)
        worker = await register(wire, name)
        while len(found) < len(lost):
            lease, wait = await _asked(wire, worker)
            if lease is None:
                await asyncio.sleep(wait)
                continue
            if lease["job"]["uid"] in lost:
                found.setdefault(lease["job"]["uid"], time.perf_counter())
            scored = {study.OBJECTIVE: study.score(lease["job"]["weights"])}
            result = {"token": lease["token"], "metrics": scored, "step": study.STEPS}
            await wire.post(f"/leases/{lease['id']}/result", result, 204)
        wire.close()

    async with asyncio.timeout(_PATIENCE):
        await asyncio.gather(*(survivor(f"survivor-{i}") for i in range(4)))
    return found


async def _hold(url: str, token: str) -> None:
    """Take trials, say which, and beat for them until killed."""
    wire = await Wire.to(url, token)
    worker = await register(wire, "holder")
    leases: list[dict[str, Any]] = []
    while len(leases) < _HELD:
        lease, wait = await _asked(wire, worker)
        if lease is None:
            await asyncio.sleep(wait)
        elif lease["job"]["kind"] == "start":
            await hand_in_start(wire, lease)
        else:
            leases.append(lease)
    print(json.dumps([lease["job"]["uid"] for lease in leases]), flush=True)
    while True:
        for lease in leases:
            beat = {"token": lease["token"], "step": 1}
            await wire.post(f"/leases/{lease['id']}/heartbeat", beat, 200)
        await asyncio.sleep(leases[0]["heartbeat_every"])


if __name__ == "__main__":
    asyncio.run(_hold(sys.argv[1], sys.argv[2]))
