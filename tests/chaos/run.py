"""One run: start everything, let the storm rage, let it settle, and judge the evidence."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from service.contract.errors import SrtuneError
from service.db import Database
from service.states import STUDY_ENDS
from tests.chaos.agent import Temper
from tests.chaos.checker import Violation, violations
from tests.chaos.evidence import Evidence
from tests.chaos.faults import impossible
from tests.chaos.history import Operation
from tests.chaos.processes import Kept
from tests.chaos.researcher import Researcher
from tests.chaos.site import ARITHMETIC, CROWD, Site, Size, add_agents, agent, open_site, wait
from tests.chaos.storm import Injected, Plan, rage
from tests.chaos.tables import Tables, dump
from tests.chaos.work import submit_all

#: What a process of ours may exit with: killed, or told to end and ended in good order.
_GOOD = {0, -signal.SIGKILL}
_BAD_AGENT = "bad"


@dataclass(frozen=True)
class Profile:
    """How much of everything."""

    size: Size = field(default_factory=Size)
    trials: int = 120
    images: int = 4
    crowd: int = 64  #: workers that ask one study at once
    storm_seconds: float = 70.0
    settle_seconds: float = 50.0
    submit_every: float = 12.0
    submit_trials: int = 8
    plans: Mapping[str, Plan] = field(default_factory=dict)


@dataclass
class Judged:
    """What a run came to."""

    violations: list[Violation]
    injected: list[Injected]
    operations: list[Operation]
    tables: Tables
    evidence: Evidence
    wire: Counter[str]
    impossible: dict[str, str]
    seconds: dict[str, float]


def run(
    folder: Path,
    profile: Profile,
    *,
    seed: int,
    tell: Callable[[str], None] = lambda line: None,
) -> Judged:
    """Run a profile in an empty folder; nothing of it is left running."""
    seconds: dict[str, float] = {}
    clock = time.monotonic()

    def lap(name: str) -> None:
        nonlocal clock
        seconds[name], clock = time.monotonic() - clock, time.monotonic()
        tell(f"{name}: {seconds[name]:.1f} s")

    with open_site(folder, profile.size, seed=seed) as site:
        client = site.client("researcher", patience=60.0)
        submit_all(client, folder, trials=profile.trials, images=profile.images)
        client.close()
        add_agents(site)
        crowd = _crowd(site, profile)
        bad = site.keeper.keep(
            agent(site, _BAD_AGENT, Temper(bad=True, labels=ARITHMETIC), threads=1)
        )
        wait(site, lambda: _seeded(site), 60, "every start job to be done")
        lap("start")
        injected = _storm(site, profile, tell)
        lap("storm")
        _settle(site, profile, [*site.agents, *site.trainers, crowd, bad])
        lap("settle")
        operations = site.operations()
        database = Database(site.database_url.replace("postgresql:", "postgresql+psycopg:"))
        tables = dump(database, site.blobs)
        database.close()
        tables.save(folder / "tables.json")
        evidence = Evidence(
            operations,
            tables,
            lease_seconds=profile.size.lease_seconds,
            offset=time.time() - time.monotonic(),
        )
        found = violations(evidence) + _exits(site)
        lap("check")
        return Judged(
            violations=found,
            injected=injected,
            operations=operations,
            tables=tables,
            evidence=evidence,
            wire=site.wire.counts,
            impossible=impossible(site),
            seconds=seconds,
        )


def _crowd(site: Site, profile: Profile) -> Kept:
    kept = agent(site, "crowd", Temper(labels=CROWD), threads=profile.crowd)
    return site.keeper.keep(kept)


def _storm(site: Site, profile: Profile, tell: Callable[[str], None]) -> list[Injected]:
    researcher = Researcher(
        site.client("researcher2"), every=profile.submit_every, trials=profile.submit_trials
    )
    researcher.start()

    def progress(done: list[Injected]) -> None:
        counts = Counter(one.fault for one in done)
        tell(", ".join(f"{name} {count}" for name, count in counts.most_common()))
        tell(f"wire: {dict(site.wire.counts)}")

    try:
        return rage(site, profile.plans, seconds=profile.storm_seconds, tell=progress)
    finally:
        researcher.end()


def _settle(site: Site, profile: Profile, workers: list[Kept]) -> None:
    """Let the work end; what has not ended in time is stopped, which is an end as good as any."""
    wait(site, site.answering, 60, "the replicas to recover")
    for kept in site.agents:
        kept.signal(signal.SIGTERM)  # nobody stays in quarantine for what the storm made of him
    client = site.direct()
    try:
        deadline = time.monotonic() + profile.settle_seconds
        while time.monotonic() < deadline and _open(site):
            site.keeper.tend()
            time.sleep(0.2)
        for study in _open(site):
            client.stop(study)
        wait(site, lambda: not _open(site), 30, "the stopped studies to end")
    finally:
        client.close()
    for kept in workers:
        kept.wanted = False
        kept.signal(signal.SIGTERM)
    wait(site, lambda: not any(kept.alive for kept in workers), 60, "the workers to end")
    site.keeper.tend()


def _seeded(site: Site) -> bool:
    client = site.direct(patience=0.0)
    try:
        return all(study.calibration is not None for study in client.studies())
    except SrtuneError:
        return False
    finally:
        client.close()


def _open(site: Site) -> list[str]:
    client = site.direct()
    try:
        return [study.id for study in client.studies() if study.state not in STUDY_ENDS]
    finally:
        client.close()


def _exits(site: Site) -> list[Violation]:
    """Workers end in good order; anything else was an answer they could not make sense of."""
    found = []
    for kept in site.keeper.kept:
        if kept.name.startswith(("agent", "trainer", "crowd", "bad")):
            strange = Counter(kept.exits) - Counter(dict.fromkeys(_GOOD, 10**6))
            if strange:
                found.append(
                    Violation("exit", f"{kept.name} exited with {dict(strange)}: {kept.log}")
                )
    return found
