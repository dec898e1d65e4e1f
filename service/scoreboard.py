"""The newest scores of each study in memory, for decisions that must not read thousands of rows.

A board follows its study by revision. It holds the newest thousand trials: as many as a rank
correlation needs (its error is then 0.03), and a study of 100,000 trials takes no more memory than
one of 2,000. Boards that were published are never changed, so any thread may read them; whoever
wants a fresher one fills a copy, which is published when it is known to hold committed rows only.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import islice

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from service.contract.trial import Metrics, TrialKind, TrialState
from service.db import READING
from service.models import Report, Study, Trial
from service.tuner import Rung, transfer

#: Trials kept at each rung and at the end.
WINDOW = 1024
#: A rung is measured again when this fraction of what it knows is new; small ones always are.
_NEWS = 1 / 32
_BOARDS = 64
_DRAFTS = "srtune.boards"

Scores = tuple[float, ...]


@dataclass
class Board:
    """Objectives of a study's search trials, by step and trial, the oldest first."""

    study_id: str
    objectives: list[str]
    steps: frozenset[int]
    #: Revisions of the last report and of the last complete trial that are in.
    reported: int = -1
    completed: int = -1
    looked: int = -1  #: the study's revision at the last look
    sure: bool = False  #: whether that look saw everything up to there
    rungs: dict[int, dict[int, Scores]] = field(default_factory=dict)
    finals: dict[int, Scores] = field(default_factory=dict)
    #: How many ever came, at each step and at the end.
    arrived: dict[int, int] = field(default_factory=dict)
    ended: int = 0
    measured: dict[int, tuple[Rung, int, int]] = field(default_factory=dict)

    def copy(self) -> Board:
        return replace(
            self,
            rungs={step: dict(trials) for step, trials in self.rungs.items()},
            finals=dict(self.finals),
            arrived=dict(self.arrived),
            measured=dict(self.measured),
        )

    def put_rung(self, number: int, step: int, metrics: Metrics) -> None:
        scores = self._scores(metrics)
        if scores is None or step not in self.steps:
            return
        trials = self.rungs.setdefault(step, {})
        if number not in trials:
            self.arrived[step] = self.arrived.get(step, 0) + 1
        trials[number] = scores
        _trim(trials)

    def put_final(self, number: int, metrics: Metrics) -> None:
        scores = self._scores(metrics)
        if scores is None:
            return
        self.ended += number not in self.finals
        self.finals[number] = scores
        _trim(self.finals)

    def rung(self, study: Study, step: int) -> Rung:
        """How trials at this step compare, measured lately enough."""
        trials, arrived = self.rungs.get(step, {}), self.arrived.get(step, 0)
        if step in self.measured:
            rung, then, ended = self.measured[step]
            quiet = arrived - then <= _NEWS * len(trials)
            if quiet and self.ended - ended <= _NEWS * len(self.finals):
                return rung
        measured = transfer(
            {number: {step: self._named(scores)} for number, scores in trials.items()},
            {number: self._named(scores) for number, scores in self.finals.items()},
            self.objectives,
            steps=[step],
        )[0]
        rung = Rung(study.parsed().pruning, measured, dict(trials))
        self.measured[step] = rung, arrived, self.ended
        return rung

    def _scores(self, metrics: Metrics) -> Scores | None:
        if not all(name in metrics for name in self.objectives):
            return None
        return tuple(metrics[name] for name in self.objectives)

    def _named(self, scores: Scores) -> Metrics:
        return dict(zip(self.objectives, scores, strict=True))


_boards: OrderedDict[str, Board] = OrderedDict()
_shelf = threading.Lock()


def board_of(session: Session, study: Study, *, step: int | None = None) -> Board:
    """The study's board as this transaction sees it.

    For one step it may be a little late. Reports that this transaction has yet to write are not in.
    """
    board = _draft(session, study) or _published(study)
    late = 0 if step is None else int(_NEWS * len(board.rungs.get(step, ())))
    if study.revision - board.looked <= late and (board.sure or step is not None):
        return board
    board = board.copy()
    _read(session, study, board)
    if board.sure:
        _publish([board])
    else:
        # What this transaction wrote itself may yet be rolled back.
        session.info.setdefault(_DRAFTS, {})[study.id] = board
    return board


def _draft(session: Session, study: Study) -> Board | None:
    drafts: dict[str, Board] = session.info.get(_DRAFTS, {})
    return drafts.get(study.id)


def _published(study: Study) -> Board:
    with _shelf:
        board = _boards.get(study.id)
        if board is not None:
            _boards.move_to_end(study.id)
            return board
    definition = study.parsed()
    return Board(study.id, definition.objectives, frozenset(definition.training.rung_steps()))


def _publish(boards: Iterable[Board]) -> None:
    with _shelf:
        for board in boards:
            old = _boards.get(board.study_id)
            if old is None or old.looked <= board.looked:
                _boards[board.study_id] = board
                _boards.move_to_end(board.study_id)
        while len(_boards) > _BOARDS:
            _boards.popitem(last=False)


def _read(session: Session, study: Study, board: Board) -> None:
    """Put in what is newer than the board; of a study new to it only the newest."""
    board.looked, board.sure = study.revision, session.info.get(READING, False)
    if not board.steps:
        return
    # The next look goes on after the last row of this one, not after the study's revision: the
    # reports of a writing transaction are inserted last, and are not here yet.
    reports = session.execute(
        select(Report.revision, Trial.number, Report.step, Report.metrics)
        .join(Trial, Trial.uid == Report.trial_uid)
        .where(
            Report.study_id == study.id,
            Report.revision > board.reported,
            Trial.kind == TrialKind.SEARCH,
        )
        .order_by(Report.revision.desc(), Report.step.desc())
        .limit(WINDOW * len(board.steps))
    ).all()
    for revision, number, step, metrics in reversed(reports):
        board.put_rung(number, step, metrics)
        board.reported = revision
    finals = session.execute(
        select(Trial.revision, Trial.number, Trial.metrics)
        .where(
            Trial.study_id == study.id,
            Trial.revision > board.completed,
            Trial.kind == TrialKind.SEARCH,
            Trial.state == TrialState.COMPLETE,
        )
        .order_by(Trial.revision.desc())
        .limit(WINDOW)
    ).all()
    for revision, number, metrics in reversed(finals):
        board.put_final(number, metrics)
        board.completed = revision


def _trim(trials: dict[int, Scores]) -> None:
    for number in list(islice(trials, max(len(trials) - WINDOW, 0))):
        del trials[number]


@event.listens_for(Session, "after_commit")
def _keep_drafts(session: Session) -> None:
    _publish(session.info.pop(_DRAFTS, {}).values())


@event.listens_for(Session, "after_soft_rollback")
def _drop_drafts(session: Session, _previous: object) -> None:
    session.info.pop(_DRAFTS, None)
