"""A whole installation of real processes: PostgreSQL, two replicas, MLflow, agents, and the wire."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from service.client import Client
from service.db import Database
from tests.chaos.clocks import WrongClock, wrong_clock
from tests.chaos.commands import free_port, mlflow, postgres, server, trainer
from tests.chaos.history import History, Operation, Recorded, read
from tests.chaos.network import Island, island
from tests.chaos.processes import Keeper, Kept
from tests.chaos.temper import AgentSettings, Temper
from tests.chaos.volume import Volume, small_disk
from tests.chaos.wire import Wire

Found = TypeVar("Found")
#: Labels that keep simulated and real trainings apart.
ARITHMETIC, IMAGES, CROWD = {"trains": "numbers"}, {"trains": "images"}, {"trains": "alone"}


@dataclass(frozen=True)
class Size:
    """How large an installation is."""

    agents: int = 6  #: processes; the last one has a wrong clock, the one before is on an island
    threads: int = 4  #: workers in each
    trainers: int = 2  #: workers that really train
    mlflow: bool = True
    lease_seconds: float = 2.0
    disk_megabytes: int = 320


@dataclass
class Site:
    """The running installation; faults act on its parts."""

    folder: Path
    size: Size
    seed: int
    keeper: Keeper
    disk: Volume
    wire: Wire
    database: Database
    postgres: Kept
    servers: list[Kept]
    ports: list[int]
    mlflow_url: str | None = None
    mlflow: Kept | None = None
    agents: list[Kept] = field(default_factory=list)
    trainers: list[Kept] = field(default_factory=list)
    island: Island | None = None
    wrong_clock: WrongClock | None = None

    @property
    def histories(self) -> Path:
        return self.folder / "histories"

    @property
    def blobs(self) -> Path:
        return self.disk.folder / "data" / "blobs"

    def operations(self) -> list[Operation]:
        """Everything written down so far, by clients and by the wire."""
        return read(sorted(self.histories.glob("*.jsonl")))

    def client(self, name: str, *, patience: float = 0.0) -> Client:
        """A client of the wire, whose requests are written down."""
        history = History(self.histories / f"{name}.jsonl", name)
        return Client(self.wire.url, patience=patience, timeout=10.0, transport=Recorded(history))

    def direct(self, *, patience: float = 30.0) -> Client:
        """A client of the first replica, past the wire, for the harness itself."""
        return Client(f"http://127.0.0.1:{self.ports[0]}", patience=patience, timeout=10.0)

    def answering(self) -> bool:
        """Whether every replica is ready."""
        for port in self.ports:
            client = Client(f"http://127.0.0.1:{port}", patience=0.0, timeout=2.0)
            try:
                if not client.ready():
                    return False
            finally:
                client.close()
        return True


@contextmanager
def open_site(folder: Path, size: Size, *, seed: int) -> Iterator[Site]:
    """Start everything but the agents; end every process afterwards, whatever happened.

    PostgreSQL runs as another user, so `folder` must not lie inside of a private one.
    """
    with ExitStack() as stack:
        folder.chmod(0o755)
        disk = stack.enter_context(small_disk(folder / "disk", megabytes=size.disk_megabytes))
        joined = stack.enter_context(island())
        keeper = Keeper()
        stack.callback(keeper.end)
        (folder / "histories").mkdir()
        url, cluster = postgres(keeper, disk.folder / "postgres", folder)
        mlflow_url, lab_book = mlflow(keeper, folder) if size.mlflow else (None, None)
        ports = [free_port(), free_port()]
        clock = wrong_clock(folder / "clock", "-3h")
        servers = [
            keeper.keep(
                server(
                    folder,
                    disk.folder / "data",
                    url,
                    port,
                    lease_seconds=size.lease_seconds,
                    mlflow_url=mlflow_url,
                )
            )
            for port in ports
        ]
        database = Database(url.replace("postgresql:", "postgresql+psycopg:"))
        stack.callback(database.close)
        history = History(folder / "histories" / "wire.jsonl", "wire")
        host = joined.address if joined else "127.0.0.1"
        wire = Wire(ports, history, host=host, seed=seed)
        stack.enter_context(wire.open())
        site = Site(
            folder=folder,
            size=size,
            seed=seed,
            keeper=keeper,
            disk=disk,
            wire=wire,
            database=database,
            postgres=cluster,
            servers=servers,
            ports=ports,
            mlflow_url=mlflow_url,
            mlflow=lab_book,
            island=joined,
            wrong_clock=clock,
        )
        wait(site, site.answering, 120, "the replicas to answer")
        if (skew := wrong_clock(folder / "server.clock", "+10m")) is not None:
            # From its next start on: the first one lists the vocabulary in a child and sleeps while
            # it waits, which libfaketime refuses when only the time of day is faked.
            servers[1].environment = {**servers[1].environment, **skew.environment}
        yield site


def add_agents(site: Site, *, sleeps: float) -> None:
    """Start the simulated and the real workers."""
    size = site.size
    for place in range(size.agents):
        from_end = size.agents - place
        temper = Temper(sleeps=sleeps, repeats=0.1, fails=0.06, labels=ARITHMETIC)
        kept = agent(site, f"agent{place}", temper, threads=size.threads, seed=place)
        if from_end == 1 and site.wrong_clock is not None:
            kept.environment = site.wrong_clock.environment
        if from_end == 2 and site.island is not None:
            kept.inside = site.island.inside
        site.agents.append(site.keeper.keep(kept))
    first = agent(site, "alone", Temper(labels=CROWD), threads=1)
    site.agents.append(site.keeper.keep(first))
    for place in range(size.trainers):
        site.trainers.append(
            site.keeper.keep(trainer(site.folder, site.wire.url, f"trainer{place}"))
        )


def agent(
    site: Site, name: str, temper: Temper, *, threads: int, seed: int = 0, together: bool = False
) -> Kept:
    """A process of simulated workers, not yet started; `together` they are one worker."""
    settings = AgentSettings(
        url=site.wire.url,
        name=name,
        threads=threads,
        together=together,
        seed=1000 * site.seed + seed,
        lease_seconds=site.size.lease_seconds,
        temper=temper,
    )
    command = (sys.executable, "-m", "tests.chaos.agent", str(site.histories), settings.encoded())
    return Kept(name, command, site.folder / f"{name}.log")


def wait(site: Site, question: Callable[[], Found | None], seconds: float, what: str) -> Found:
    """Ask until the answer is true, keeping the processes running; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        site.keeper.tend()
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what} ({site.folder})"
        time.sleep(0.05)
    return answer
