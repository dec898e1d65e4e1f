"""The lab book is a projection of our rows: written by one thread, and safe to write again.

A row whose `revision` differs from its `told_revision` has news. Its pages are written first and
the row is marked afterwards, so a crash in between only writes the same pages once more. No
transaction is open while MLflow is asked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update

from service.contract.errors import Unavailable
from service.contract.trial import TrialState
from service.contract.vocabulary import Vocabulary
from service.db import Database
from service.models import Attempt, Study, Trial, Worker
from service.tracking.labbook import LabBook, PageMissing, Refused
from service.tracking.outcome import outcome_files
from service.tracking.pages import (
    ENDED,
    RunPage,
    definition_of,
    experiment_name,
    experiment_note,
    study_page,
    trial_page,
)
from service.tracking.views import view_link, view_tag

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _News:
    """A study with news, as it was at one moment."""

    study: Study
    trials: list[Trial]
    started: dict[str, float]
    workers: dict[str, str]
    #: Whether these are all of its trials with news.
    all: bool


class Projection:
    """Keeps MLflow's pages like our rows. `mirror` is one pass; `start` makes one every `every` s.

    A pass reads at most `at_once` trials of a study: after an outage thousands may have news.
    `own` says that this MLflow is ours alone, so its empty `Default` experiment may go. While
    `ready()` is false MLflow is left alone. `ended` is called when a study's last page is written.
    """

    def __init__(
        self,
        database: Database,
        labbook: LabBook,
        vocabulary: Vocabulary,
        public_url: str,
        *,
        every: float = 1.0,
        at_once: int = 200,
        own: bool = False,
        ready: Callable[[], bool] = lambda: True,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._labbook = labbook
        self._vocabulary = vocabulary
        self._studies_url = f"{public_url.rstrip('/')}/api/v1/studies"
        self._every = every
        self._at_once = at_once
        self._own = own
        self._ready = ready
        self._ended = ended
        #: What was written last, so that heartbeats do not become requests.
        self._written: dict[str, object] = {}
        self._reached: bool | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="labbook", daemon=True)

    @property
    def reached(self) -> bool | None:
        """Whether MLflow took what was last written; None before anything was."""
        return self._reached

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=70)
        self._labbook.close()

    def _run(self) -> None:
        pause, tidy = self._every, not self._own
        while not self._stopping.wait(pause):
            if not self._ready():
                continue
            try:
                if not tidy:
                    self._labbook.delete_default_experiment()
                    tidy = True
                with self._database.alone("labbook") as alone:
                    # Two writers of one run would race for its tags, and open pages twice.
                    if alone:
                        self.mirror()
            except Unavailable as error:
                if self._reached is not False:
                    logger.warning("the lab book waits: %s", error)
                self._reached = False
                pause = min(max(pause, self._every) * 2, 30.0)
            else:
                if self._reached is False:
                    logger.info("the lab book is written again")
                self._reached, pause = True, self._every

    def mirror(self) -> int:
        """Write every page that has news; the number of rows told. Unavailable if MLflow is away."""
        told = 0
        for study_id in self._with_news():
            news = self._read(study_id)
            if news is not None:
                told += self._tell(news)
        return told

    def _with_news(self) -> list[str]:
        with self._database.reading() as session:
            return list(
                session.scalars(
                    select(Study.id)
                    .where(Study.revision != Study.told_revision)
                    .order_by(Study.created)
                )
            )

    def _read(self, study_id: str) -> _News | None:
        with self._database.reading() as session:
            study = session.get(Study, study_id)
            if study is None:
                return None
            # Running trials first: their workers wait for the run.
            trials = session.scalars(
                select(Trial)
                .where(Trial.study_id == study_id, Trial.revision != Trial.told_revision)
                .order_by(Trial.state != TrialState.LEASED, Trial.number)
                .limit(self._at_once)
            ).all()
            started = session.execute(
                select(Attempt.trial_uid, func.min(Attempt.started))
                .where(Attempt.trial_uid.in_([trial.uid for trial in trials]))
                .group_by(Attempt.trial_uid)
            ).all()
            workers = session.execute(select(Worker.id, Worker.name)).all()
            # The rows outlive their transaction: nothing may be open while MLflow is asked.
            session.expunge_all()
        return _News(
            study,
            list(trials),
            started={row[0]: row[1] for row in started},
            workers={row[0]: row[1] for row in workers},
            all=len(trials) < self._at_once,
        )

    def _tell(self, news: _News) -> int:
        study = news.study
        try:
            experiment_id = self._experiment(study)
            for trial in news.trials:
                self._trial(news, trial, experiment_id)
            if study.state in ENDED and news.all:
                self._outcome(study, experiment_id)
        except PageMissing as error:
            # Somebody emptied MLflow's store. Everything is in our rows; write it all again.
            logger.warning(
                "pages of study %s are missing and will be rewritten: %s", study.id, error
            )
            self._forget(study)
            return 0
        except ValueError:
            # A definition this version cannot read must not stop the pages of all other studies.
            logger.exception("study %s has no pages", study.id)
        else:
            if not news.all:
                return len(news.trials)
        self._mark(Study, Study.id == study.id, told_revision=study.revision)
        return 1 + len(news.trials)

    def _experiment(self, study: Study) -> str:
        definition = definition_of(study)
        created_ms = round(study.created * 1000)
        link = f"{self._studies_url}/{study.id}"
        if study.experiment_id is None:
            tags = {"mlflow.experimentKind": "custom_model_development"}
            tags["scale"] = str(definition.data.scale)
            note = experiment_note(study, charts="#/experiments", link=link)
            name = experiment_name(study)
            study.experiment_id = self._labbook.ensure_experiment(study.id, name, note, tags)
            self._mark(Study, Study.id == study.id, experiment_id=study.experiment_id)
        charts = view_link(study.experiment_id)
        tags = {"mlflow.note.content": experiment_note(study, charts=charts, link=link)}
        tags |= {"srt.state": study.state.value} | view_tag(definition, created_ms=created_ms)
        if self._written.get(study.id) != tags:
            self._labbook.experiment_tags(study.experiment_id, tags)
            self._written[study.id] = tags
        return study.experiment_id

    def _trial(self, news: _News, trial: Trial, experiment_id: str) -> None:
        values: dict[str, Any] = {"told_revision": trial.revision}
        # A trial nobody has leased has no page yet, and one cancelled before that never will.
        if trial.token > 0:
            page = trial_page(
                news.study,
                trial,
                started=news.started.get(trial.uid),
                worker=news.workers.get(trial.worker_id or "", ""),
                link=f"{self._studies_url}/{news.study.id}/trials/{trial.number}",
            )
            try:
                values["run_id"] = self._run_page(experiment_id, page, trial.run_id)
            except PageMissing:
                raise
            except Refused:
                # Asking again would stop the pages of all other trials for ever.
                logger.exception("MLflow refuses the page of trial %s", trial.uid)
        self._mark(Trial, Trial.uid == trial.uid, **values)

    def _run_page(self, experiment_id: str, page: RunPage, known: str | None) -> str:
        if known is not None and self._written.get(page.uid) == page:
            return known
        run_id = known or self._labbook.ensure_run(
            experiment_id, page.uid, page.name, page.tags, page.start_ms
        )
        self._labbook.log(run_id, params=page.params, tags=page.tags, points=page.points)
        self._labbook.update(run_id, name=page.name, status=page.status, end_ms=page.end_ms)
        if page.end_ms is None:
            self._written[page.uid] = page
        else:
            self._written.pop(page.uid, None)
        return run_id

    def _outcome(self, study: Study, experiment_id: str) -> None:
        with self._database.reading() as session:
            trials = session.scalars(select(Trial).where(Trial.study_id == study.id)).all()
            session.expunge_all()
        files = outcome_files(definition_of(study), self._vocabulary, trials)
        complete = sum(trial.state is TrialState.COMPLETE for trial in trials)
        page = study_page(study, start_ms=round(study.created * 1000), trials=complete)
        run_id = self._run_page(experiment_id, page, None)
        for path, content in files.items():
            try:
                self._labbook.artifact(run_id, path, content)
            except PageMissing:
                raise
            except Refused:
                logger.exception("MLflow refuses %s of study %s", path, study.id)
        self._ended()

    def _forget(self, study: Study) -> None:
        self._written.clear()
        self._mark(Trial, Trial.study_id == study.id, run_id=None, told_revision=-1)
        self._mark(Study, Study.id == study.id, experiment_id=None, told_revision=-1)

    def _mark(self, table: type[Study] | type[Trial], which: Any, **values: Any) -> None:
        with self._database.writing() as session:
            session.execute(update(table).where(which).values(**values))
