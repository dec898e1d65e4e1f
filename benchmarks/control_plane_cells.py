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
from benchmarks.control_plane_places import Engine, Place, Places
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
    #: Shares of a core: the service's processes, the load generator.
    service_cpu: float = 0.0
    generator_cpu: float = 0.0


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
        with places.empty() as place:
            batched = ["--batched"] if row.batched else []
            told = _answer("control_plane_floor", place.url, "--seconds", str(seconds), *batched)
        return Cell(told["cycles"] / told["seconds"])
    if row.side == "optuna":
        with places.fresh(row.engine, "optuna", finished) as place:
            return _counted(place, places, lambda: _optuna(place, seconds))
    with (
        places.fresh(row.engine, "ours", finished) as place,
        serving(place.data, place.database, replicas=row.replicas) as services,
    ):
        load = Load(
            urls=[service.url for service in services],
            token=place.token,
            batched=row.batched,
            seconds=seconds,
        )
        before = sum(service.cpu_seconds() for service in services)
        counted = _counted(place, places, lambda: drive(load))
        used = sum(service.cpu_seconds() for service in services) - before
        return replace_cpu(counted, used / (load.seconds + load.warm_seconds))


def drive(load: Load) -> dict[str, Any]:
    """Run the load generator in a process of its own; its tally."""
    return _answer("control_plane_load", json.dumps(asdict(load)))


def quantile(times: Sequence[float], part: float) -> float:
    """The value below which this part of the times lies; not a number for none."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")
