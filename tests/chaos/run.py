"""One run: start everything, let the storm rage, let it settle, and judge the evidence."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from service.models import Study
from service.states import STUDY_ENDS
from tests.chaos.checker import Violation, violations
from tests.chaos.evidence import Evidence
from tests.chaos.faults import impossible
from tests.chaos.history import Operation
from tests.chaos.memory import memory_violations
from tests.chaos.pages import caught_up, page_violations
from tests.chaos.processes import Kept
from tests.chaos.researcher import Researcher
from tests.chaos.site import ARITHMETIC, CROWD, Site, Size, add_agents, agent, open_site, wait
from tests.chaos.storm import Injected, Plan, rage
from tests.chaos.tables import Tables, dump
from tests.chaos.temper import Temper
from tests.chaos.wire import CLEAR, Weather
from tests.chaos.work import CROWDED, submit_all

#: What a process of ours may exit with: in good order, or killed; SIGTERM kills who just starts.
_GOOD = {0, -signal.SIGKILL, -signal.SIGTERM}
_BAD_AGENT = "bad"
_ENDED = 2
_SHORTEST_STORM = 15.0


@dataclass(frozen=True)
class Profile:
    """How much of everything."""

    size: Size = field(default_factory=Size)
    trials: int = 120
    images: int = 4
    crowd: int = 64  #: requests for one study at once
    crowd_seconds: float = 8.0
    seed_seconds: float = 30.0
    storm_seconds: float = 60.0
    #: The storm is cut short where starting took so long that the whole would take longer.
    total_seconds: float = float("inf")
    settle_seconds: float = 50.0
    page_seconds: float = 15.0
    submit_every: float = 12.0
    submit_trials: int = 8
    plans: Mapping[str, Plan] = field(default_factory=dict)
    usual: Weather = CLEAR  #: between the faults, while the storm lasts
    repeats: int = 0  #: the storm lasts until so many requests were doubled or reordered
    sleeps: float = 0.15  #: of the trials, in which a worker sleeps past its lease

    def hurried(self, seconds: float) -> dict[str, Plan]:
        """The plans for a storm of so many seconds: as many faults, closer together."""
        pace = min(seconds / self.storm_seconds, 1.0)
        return {name: Plan(plan.times, plan.every * pace) for name, plan in self.plans.items()}

    @property
    def calm_seconds(self) -> float:
        """What comes after the storm, at most."""
        return self.settle_seconds + self.page_seconds


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
    begun = clock = time.monotonic()

    def lap(name: str) -> None:
        nonlocal clock
        seconds[name], clock = time.monotonic() - clock, time.monotonic()
        tell(f"{name}: {seconds[name]:.1f} s")

    with open_site(folder, profile.size, seed=seed) as site:
        lap("open")
        client = site.client("researcher", patience=60.0)
        submit_all(client, folder, trials=profile.trials, images=profile.images)
        client.close()
        add_agents(site, sleeps=profile.sleeps)
        bad = site.keeper.keep(
            agent(site, _BAD_AGENT, Temper(bad=True, labels=ARITHMETIC), threads=1)
        )
        _quickly(site, lambda: _seeded(site), seconds=profile.seed_seconds)
        _crowd(site, profile)
        lap("start")
        left = profile.total_seconds - (time.monotonic() - begun) - profile.calm_seconds
        storm_seconds = max(min(profile.storm_seconds, left), _SHORTEST_STORM)
        injected = _storm(site, profile, storm_seconds, tell)
        lap("storm")
        _settle(site, profile, [*site.agents, *site.trainers, bad])
        lap("settle")
        operations = site.operations()
        if site.mlflow_url is not None:
            _quickly(site, lambda: caught_up(site.database), seconds=profile.page_seconds)
        tables = dump(site.database, site.blobs)
        offset = time.time() - time.monotonic()
        tables.save(folder / "tables.json")
        (folder / "clocks.json").write_text(
            json.dumps({"lease_seconds": profile.size.lease_seconds, "offset": offset})
        )
        evidence = Evidence(
            operations, tables, lease_seconds=profile.size.lease_seconds, offset=offset
        )
        found = violations(evidence) + _exits(site)
        with site.direct() as client:
            vocabulary = client.vocabulary()
        found += memory_violations(site.database, tables, vocabulary, seed=seed)
        if site.mlflow_url is not None:
            found += page_violations(tables, site.mlflow_url, patience=profile.page_seconds)
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


def _crowd(site: Site, profile: Profile) -> None:
    """Many requests at once for one study that may run a few trials; then they go."""
    crowd = agent(site, "crowd", Temper(labels=CROWD), threads=profile.crowd, together=True)
    site.keeper.keep(crowd)
    _quickly(site, lambda: _state(site, CROWDED) == _ENDED, seconds=profile.crowd_seconds)
    crowd.wanted = False
    crowd.signal(signal.SIGTERM)


def _storm(
    site: Site, profile: Profile, seconds: float, tell: Callable[[str], None]
) -> list[Injected]:
    researcher = Researcher(
        site.client("researcher2"), every=profile.submit_every, trials=profile.submit_trials
    )
    researcher.start()

    def progress(done: list[Injected]) -> None:
        counts = Counter(one.fault for one in done)
        tell(", ".join(f"{name} {count}" for name, count in counts.most_common()))
        tell(f"wire: {dict(site.wire.counts)}")

    def enough() -> bool:
        return site.wire.counts["doubled"] + site.wire.counts["reordered"] >= profile.repeats

    site.wire.usual = site.wire.weather = profile.usual
    plans = profile.hurried(seconds)
    try:
        return rage(site, plans, seconds=seconds, enough=enough, tell=progress)
    finally:
        researcher.end()


def _settle(site: Site, profile: Profile, workers: list[Kept]) -> None:
    """Let the work end; what has not ended in time is stopped, which is an end as good as any."""
    wait(site, site.answering, 60, "the replicas to recover")
    for kept in site.agents:
        kept.signal(signal.SIGTERM)  # nobody stays in quarantine for what the storm made of him
    _quickly(site, lambda: not _open(site), seconds=profile.settle_seconds)
    with site.direct() as client:
        for study in _open(site):
            client.stop(study)
    wait(site, lambda: not _open(site), 30, "the stopped studies to end")
    for kept in workers:
        kept.wanted = False
        kept.signal(signal.SIGTERM)
    _quickly(site, lambda: not any(kept.alive for kept in workers), seconds=60.0)
    for kept in workers:
        kept.signal(signal.SIGABRT)  # whoever is still there writes down where he hangs, and goes
    _quickly(site, lambda: not any(kept.alive for kept in workers), seconds=5.0)
    site.keeper.tend()


def _quickly(site: Site, question: Callable[[], bool], *, seconds: float) -> None:
    """Wait for something that makes the run tell more, and go on without it if it takes long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not question():
        site.keeper.tend()
        time.sleep(0.2)


def _seeded(site: Site) -> bool:
    """Whether every start job is done; a study whose start fails tests little."""
    return all(study.calibration is not None for study in _studies(site))


def _state(site: Site, name: str) -> int:
    """How far a study is: 0 before its start job is done, 1 while it searches, then _ENDED."""
    study = next((study for study in _studies(site) if study.name == name), None)
    if study is None:
        return 0
    return _ENDED if study.state in STUDY_ENDS else int(study.calibration is not None)


def _studies(site: Site) -> list[Study]:
    """Straight from the rows: the harness must not add to what the replicas have to do."""
    with site.database.reading() as session:
        return list(session.scalars(select(Study)))


def _open(site: Site) -> list[str]:
    return [study.id for study in _studies(site) if study.state not in STUDY_ENDS]


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
