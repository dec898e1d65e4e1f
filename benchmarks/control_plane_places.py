"""Where a measurement runs: a fresh copy of a seeded database, so that no run pays for another."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.control_plane_cluster import Cluster
from benchmarks.control_plane_seeding import seed_optuna, seed_ours

Engine = Literal["PostgreSQL", "SQLite"]
Side = Literal["ours", "optuna"]
#: Statements and transactions so far; None where nobody counts.
Counted = tuple[int, int] | None


@dataclass(frozen=True)
class Place:
    """A database to run on: for a service its data folder and `--database`, and a token."""

    data: Path
    url: str
    database: str | None
    token: str
    #: The name by which the cluster counts statements; none on SQLite.
    name: str | None


@dataclass
class Places:
    """Seeds each history once, hands out copies."""

    folder: Path
    cluster: Cluster
    _tokens: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def fresh(self, engine: Engine, side: Side, finished: int) -> Iterator[Place]:
        """A copy with so many finished trials; gone afterwards."""
        template = f"{side}{finished}"
        if engine == "SQLite":
            yield from self._file(side, finished, f"sqlite-{template}")
            return
        if template not in self._tokens:
            url = self.cluster.create(template)
            self._tokens[template] = self._seeded(side, finished, self._data, url, url)
        url = self.cluster.create("run", template=template)
        yield Place(self._data, url, url, self._tokens[template], "run")
        self.cluster.drop("run")

    @contextmanager
    def empty(self) -> Iterator[Place]:
        """A PostgreSQL database without anything."""
        url = self.cluster.create("run")
        yield Place(self._data, url, url, "", "run")
        self.cluster.drop("run")

    def counted(self, place: Place) -> Counted:
        """What the database was asked so far."""
        return None if place.name is None else self.cluster.statements(place.name)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _file(self, side: Side, finished: int, template: str) -> Iterator[Place]:
        seeded = self.folder / template
        name = "srtune.db" if side == "ours" else "optuna.db"
        if template not in self._tokens:
            seeded.mkdir()
            url = f"sqlite:///{seeded / name}"
            self._tokens[template] = self._seeded(side, finished, seeded, None, url)
        copy = self.folder / "sqlite-run"
        shutil.copytree(seeded, copy)
        yield Place(copy, f"sqlite:///{copy / name}", None, self._tokens[template], None)
        shutil.rmtree(copy)

    def _seeded(self, side: Side, finished: int, data: Path, database: str | None, url: str) -> str:
        if side == "ours":
            return seed_ours(data, database, url, finished)
        seed_optuna(url, finished)
        return ""
