"""Everything that is done to an installation. A fault harms, yields for how long, and mends.

Each takes the site and a source of chance; `FAULTS` names them as the printed table does.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator

from tests.chaos.clocks import OFFSETS
from tests.chaos.processes import Kept
from tests.chaos.site import Site
from tests.chaos.wire import Weather

Fault = Callable[[Site, random.Random], Iterator[float]]


def server_killed(site: Site, draw: random.Random) -> Iterator[float]:
    draw.choice(site.servers).signal(signal.SIGKILL)
    yield 0.0


def server_drained(site: Site, draw: random.Random) -> Iterator[float]:
    draw.choice(site.servers).signal(signal.SIGTERM)
    yield 0.0


def server_frozen(site: Site, draw: random.Random) -> Iterator[float]:
    """It may hold a transaction open meanwhile; the other replica has to wait, not to fail."""
    yield from _frozen(draw.choice(site.servers), draw.uniform(0.5, 2.0))


def herd(site: Site, draw: random.Random) -> Iterator[float]:
    """Both replicas go and stay away; every worker waits, and all come at once."""
    for server in site.servers:
        server.wanted = False
        server.signal(signal.SIGKILL)
    yield draw.uniform(2.0, 4.0)
    for server in site.servers:
        server.wanted = True


def database_killed(site: Site, draw: random.Random) -> Iterator[float]:
    """The postmaster with its children, as a lost machine; or the postmaster alone."""
    site.postgres.signal(signal.SIGKILL, group=draw.random() < 0.7)
    yield 0.0


def database_stopped(site: Site, _draw: random.Random) -> Iterator[float]:
    """`pg_ctl stop -m immediate`: recovery from the log at the next start."""
    site.postgres.signal(signal.SIGQUIT)
    yield 0.0


def workers_killed(site: Site, draw: random.Random) -> Iterator[float]:
    draw.choice([*site.agents, *site.trainers]).signal(signal.SIGKILL)
    yield 0.0


def workers_drained(site: Site, draw: random.Random) -> Iterator[float]:
    draw.choice([*site.agents, *site.trainers]).signal(signal.SIGTERM)
    yield 0.0


def workers_frozen(site: Site, draw: random.Random) -> Iterator[float]:
    """Asleep past the lease; whatever they held has gone to others when they wake up."""
    seconds = site.size.lease_seconds * draw.uniform(1.2, 2.5)
    yield from _frozen(draw.choice([*site.agents, *site.trainers]), seconds)


def mlflow_killed(site: Site, _draw: random.Random) -> Iterator[float]:
    if site.mlflow is not None:
        site.mlflow.signal(signal.SIGKILL, group=True)
    yield 0.0


def mlflow_frozen(site: Site, draw: random.Random) -> Iterator[float]:
    if site.mlflow is not None:
        yield from _frozen(site.mlflow, draw.uniform(2.0, 6.0), group=True)


def storm(site: Site, draw: random.Random) -> Iterator[float]:
    """Requests are lost, doubled, delayed and overtaken; answers are cut off after the commit."""
    weather = Weather(
        lose=0.05, cut=0.1, double=0.3, late=0.1, slow=0.2, delay=draw.choice((0.5, 5))
    )
    yield from _under(site, weather, draw.uniform(3.0, 6.0))


def doubling(site: Site, draw: random.Random) -> Iterator[float]:
    """Nearly every request arrives twice, some of them late."""
    yield from _under(site, Weather(double=0.8, late=0.1, delay=1.0), draw.uniform(5.0, 8.0))


def answers_cut(site: Site, draw: random.Random) -> Iterator[float]:
    """A one-way cut: everything is done, and nobody hears of it."""
    yield from _under(site, Weather(deaf=True), draw.uniform(0.3, 1.5))


def requests_cut(site: Site, draw: random.Random) -> Iterator[float]:
    """A two-way cut."""
    yield from _under(site, Weather(dumb=True), draw.uniform(0.3, 1.5))


def island_cut(site: Site, draw: random.Random) -> Iterator[float]:
    """The cable of some agents' network: pulled, or passing one way only."""
    if site.island is not None:
        draw.choice((site.island.cut, site.island.deafen, site.island.silence))()
        yield site.size.lease_seconds * draw.uniform(0.3, 2.0)
        site.island.mend()
    yield 0.0


def clock_jump(site: Site, draw: random.Random) -> Iterator[float]:
    """The time of day of some agents is hours or days off from now on."""
    if site.wrong_clock is not None:
        site.wrong_clock.jump(draw.choice(OFFSETS))
    yield 0.0


def disk_full(site: Site, draw: random.Random) -> Iterator[float]:
    """No room for rows, for the log, for objects; then room again."""
    if site.disk.small:
        site.disk.fill()
        yield draw.uniform(2.0, 4.0)
        site.disk.free()
    yield 0.0


FAULTS: dict[str, Fault] = {
    "server killed": server_killed,
    "server told to end": server_drained,
    "server frozen": server_frozen,
    "all servers away, then back": herd,
    "database killed": database_killed,
    "database stopped immediately": database_stopped,
    "workers killed": workers_killed,
    "workers told to end": workers_drained,
    "workers frozen past their lease": workers_frozen,
    "MLflow killed": mlflow_killed,
    "MLflow frozen": mlflow_frozen,
    "lossy, doubling, reordering wire": storm,
    "doubling wire": doubling,
    "answers cut off": answers_cut,
    "requests cut off": requests_cut,
    "network cut (namespace)": island_cut,
    "clock jumped": clock_jump,
    "disk full": disk_full,
}


def impossible(site: Site) -> dict[str, str]:
    """Faults that cannot be made here, and why."""
    found = {}
    if site.island is None:
        found["network cut (namespace)"] = "network namespaces need root, ip and iptables"
    if site.wrong_clock is None:
        found["clock jumped"] = "libfaketime is not installed"
    if not site.disk.small:
        found["disk full"] = site.disk.reason
    return found


def _frozen(kept: Kept, seconds: float, *, group: bool = False) -> Iterator[float]:
    if kept.signal(signal.SIGSTOP, group=group):
        yield seconds
        kept.signal(signal.SIGCONT, group=group)
    yield 0.0


def _under(site: Site, weather: Weather, seconds: float) -> Iterator[float]:
    site.wire.weather = weather
    yield seconds
    if site.wire.weather is weather:
        site.wire.weather = site.wire.usual
