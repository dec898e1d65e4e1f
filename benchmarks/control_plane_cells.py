"""One measurement: some seconds of one kind of load on a fresh database."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.control_plane_load import Load
from benchmarks.control_plane_places import Counted, Engine, Places
from benchmarks.control_plane_service import ROOT, serving


@dataclass(frozen=True)
class Cell:
    """What one run of a row showed; times in seconds."""

    cycles: float  #: a second, all clients together
    #: Getting a trial: the request that got it, and all from wanting to having.
    lease: Sequence[float] = ()
    wanting: Sequence[float] = ()
    statements: float | None = None  #: a cycle
    transactions: float | None = None  #: a cycle
    service_cpu: float = 0.0  #: processor seconds a cycle, of all of the service's processes
    generator_cpu: float = 0.0  #: of a core, by the load generator


@dataclass(frozen=True)
class Row:
    """A kind of load, and how to run it."""

    name: str
    side: str
    engine: Engine = "PostgreSQL"
    batched: bool = True
    replicas: int = 1


@dataclass
class Results:
    """All cells of a history: row name → its cells, one a round."""

    finished: int
    cells: dict[str, list[Cell]] = field(default_factory=dict)

    def rate(self, row: str) -> float:
        return statistics.median(cell.cycles for cell in self.cells[row])

    def ratio(self, row: str, peer: str) -> float:
        """How many times the peer's rate: the median of the rounds, each in its own minute."""
        pairs = zip(self.cells[row], self.cells[peer], strict=True)
        return statistics.median(ours.cycles / max(theirs.cycles, 1e-9) for ours, theirs in pairs)

    def milliseconds(self, row: str, part: float, what: str = "lease") -> float:
        """A quantile of lease times: the median of the rounds' quantiles."""
        found = [getattr(cell, what) for cell in self.cells[row]]
        return statistics.median(1000 * quantile(times, part) for times in found)

    def statements(self, row: str) -> float | None:
        found = [c.statements for c in self.cells[row] if c.statements is not None]
        return statistics.median(found) if found else None


def run(row: Row, places: Places, finished: int, seconds: float) -> Cell:
    """Measure a row once."""
    if row.side == "floor":
        batched = ["--batched"] if row.batched else []
        with places.empty() as place:
            return _cell(answer("control_plane_floor", place.url, *_for(seconds), *batched))
    if row.side == "optuna":
        with places.fresh(row.engine, "optuna", finished) as place:
            before = places.counted(place)
            told = answer("control_plane_peer", place.url, *_for(seconds))
            return _cell(told, before, places.counted(place))
    with (
        places.fresh(row.engine, "ours", finished) as place,
        serving(place.data, place.database, replicas=row.replicas) as services,
    ):
        urls = [service.url for service in services]
        load = Load(urls=urls, token=place.token, batched=row.batched, seconds=seconds)
        before, busy = places.counted(place), sum(service.busy() for service in services)
        told = drive(load)
        cpu = (sum(service.busy() for service in services) - busy) / max(told["all_cycles"], 1)
        return _cell({**told, "service_cpu": cpu}, before, places.counted(place))


def _for(seconds: float) -> tuple[str, str]:
    return "--seconds", str(seconds)


def _cell(told: dict[str, Any], before: Counted = None, after: Counted = None) -> Cell:
    cycles = max(told.get("all_cycles", 0), 1)
    counts = (None, None)
    if before is not None and after is not None:
        counts = ((after[0] - before[0]) / cycles, (after[1] - before[1]) / cycles)
    return Cell(
        cycles=told["cycles"] / told["seconds"],
        lease=told.get("lease") or told.get("ask") or (),
        wanting=told.get("wanting") or told.get("ask") or (),
        statements=counts[0],
        transactions=counts[1],
        service_cpu=told.get("service_cpu", 0.0),
        generator_cpu=told.get("generator_cpu", 0.0),
    )


def drive(load: Load) -> dict[str, Any]:
    """Run the load generator in a process of its own; its tally."""
    return answer("control_plane_load", json.dumps(asdict(load)))


def answer(module: str, *arguments: str) -> dict[str, Any]:
    """What a part of this benchmark tells when run in a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{module} failed:\n{ended.stderr[-3000:]}")
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


def quantile(times: Sequence[float], part: float) -> float:
    """The value below which this part of the times lies; not a number for none."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")
