"""Figures for Prometheus that the rows say, so that replicas and restarts agree."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.contract.errors import Unavailable
from service.contract.trial import StudyState, TrialState
from service.contract.worker import WorkerState
from service.db import Database, now
from service.models import Attempt, Study, Trial, Worker
from service.states import TRIAL_ENDS

#: Several scrapers, or an impatient one, cost one look.
_FRESH = 1.0
#: Studies that are named one by one; of more, all are counted.
_FEW = 500
_SERVED = (StudyState.ACTIVE, StudyState.CONFIRMING)


@dataclass(frozen=True)
class Figures:
    """A look at the tables."""

    trials: dict[TrialState, int]
    studies: dict[StudyState, int]
    workers: dict[WorkerState, int]
    leases: int
    running: int
    queue_age: float
    proposals_ahead: int


@dataclass
class _Ended:
    """How the trials of a study ended, as of its revision."""

    revision: int
    states: dict[TrialState, int] = field(default_factory=dict)


class Rows(Collector):
    """Looks at most once a second; ended trials are counted again only where a study changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = threading.Lock()
        self._ended: dict[str, _Ended] = {}
        self._seen: Figures | None = None
        self._looked = float("-inf")

    def describe(self) -> list[GaugeMetricFamily]:
        # Registering must not ask the database, which may not be open yet.
        return []

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The figures; without the database only that it is away, so that the others are shown."""
        try:
            seen = self.look()
        except Unavailable:
            yield _gauge("srtune_database_up", "Whether the database answers.", 0)
            return
        yield _gauge("srtune_database_up", "Whether the database answers.", 1)
        yield _by_state("srtune_trials", "Trials by state.", seen.trials)
        yield _by_state("srtune_studies", "Studies by state.", seen.studies)
        yield _by_state("srtune_workers", "Workers by state.", seen.workers)
        yield _gauge("srtune_leases", "Leases ever granted.", seen.leases)
        yield _gauge("srtune_running_trials", "Trials that workers hold now.", seen.running)
        yield _gauge(
            "srtune_queue_age_seconds",
            "How long the oldest trial that a worker could have now has waited.",
            seen.queue_age,
        )
        yield _gauge(
            "srtune_proposals_ahead",
            "Trials the samplers proposed that wait for a worker.",
            seen.proposals_ahead,
        )

    def look(self) -> Figures:
        """The figures of this second; Unavailable without the database."""
        with self._turn:
            if self._seen is None or time.monotonic() - self._looked > _FRESH:
                with self._database.reading() as session:
                    self._seen = self._read(session)
                self._looked = time.monotonic()
            return self._seen

    def _read(self, session: Session) -> Figures:
        studies = session.execute(
            select(
                Study.id,
                Study.state,
                Study.revision,
                Study.unfinished,
                Study.running,
                Study.attempts_ended,
            )
        ).all()
        self._count_ended(session, {study.id: study.revision for study in studies})
        running = sum(study.running for study in studies)
        trials = Counter(dict.fromkeys(TrialState, 0))
        for ended in self._ended.values():
            trials.update(ended.states)
        trials[TrialState.LEASED] = running
        trials[TrialState.QUEUED] = sum(study.unfinished for study in studies) - running
        states = Counter(dict.fromkeys(StudyState, 0))
        states.update(study.state for study in studies)
        waiting, oldest, at = _queue(session)
        return Figures(
            trials=dict(trials),
            studies=dict(states),
            workers=_workers(session),
            leases=running + sum(study.attempts_ended for study in studies),
            running=running,
            queue_age=0.0 if oldest is None else max(0.0, at - oldest),
            proposals_ahead=waiting,
        )

    def _count_ended(self, session: Session, revisions: dict[str, int]) -> None:
        for gone in self._ended.keys() - revisions.keys():
            del self._ended[gone]
        changed = {
            study: _Ended(revision)
            for study, revision in revisions.items()
            if study not in self._ended or self._ended[study].revision != revision
        }
        counting = (
            select(Trial.study_id, Trial.state, func.count())
            .where(Trial.state.in_(TRIAL_ENDS))
            .group_by(Trial.study_id, Trial.state)
        )
        if len(changed) <= _FEW:
            counting = counting.where(Trial.study_id.in_(changed))
        for study, state, count in session.execute(counting) if changed else ():
            if study in changed:
                changed[study].states[state] = count
        self._ended |= changed


def _queue(session: Session) -> tuple[int, float | None, float]:
    """Proposals that wait; since when the oldest trial waits that could be leased; and now."""
    at = now(session)
    served = Study.state.in_(_SERVED)
    queued = Trial.state == TrialState.QUEUED
    ahead = session.execute(
        select(func.count())
        .select_from(Trial)
        .join(Study, Study.id == Trial.study_id)
        .where(queued, served, Trial.origin == "sampler", Trial.token == 0)
    ).scalar_one()
    # A trial that comes back waits since its attempt's end, not since it was thought of.
    since = func.coalesce(Attempt.ended, Trial.created)
    oldest = session.execute(
        select(func.min(since))
        .select_from(Trial)
        .join(Study, Study.id == Trial.study_id)
        .outerjoin(Attempt, (Attempt.trial_uid == Trial.uid) & (Attempt.token == Trial.token))
        .where(queued, served, Trial.not_before <= at)
    ).scalar_one()
    return ahead, oldest, at


def _workers(session: Session) -> dict[WorkerState, int]:
    counted = session.execute(select(Worker.state, func.count()).group_by(Worker.state))
    return dict.fromkeys(WorkerState, 0) | dict(counted.all())


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value)


def _by_state(
    name: str,
    text: str,
    counts: dict[TrialState, int] | dict[StudyState, int] | dict[WorkerState, int],
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["state"])
    for state, count in counts.items():
        family.add_metric([state.value], count)
    return family
