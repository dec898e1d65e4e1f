"""The sampler's memories, kept fresh from the rows: what changed since the last look is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, select, tuple_
from sqlalchemy.orm import Session

from service.contract.trial import TrialKind, TrialState
from service.contract.vocabulary import Vocabulary
from service.demand import Demand
from service.models import Study, Trial
from service.tuner import Observation

if TYPE_CHECKING:
    from service.tuner.mind import Proposal, Thinker
    from service.tuner.observation import State

#: Rows read and told at once: a study of 100,000 trials must fit into no list.
_PAGE = 2000
_STATES: dict[TrialState, State] = {
    TrialState.QUEUED: "running",
    TrialState.LEASED: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    # Weights that blow up are worse than any that train to the end.
    TrialState.DIVERGED: "pruned",
    TrialState.FAILED: "failed",
    TrialState.CANCELLED: "failed",
}


class Memories:
    """What the samplers of this process were told, and how fast their studies go.

    The memories themselves are the mind's, in this process or another; when it is lost all is
    told again. For one thread at a time.
    """

    def __init__(self, vocabulary: Vocabulary, mind: Thinker | None = None) -> None:
        self._vocabulary = vocabulary
        self._mind = mind
        #: Study → revision and number of the last row that was told.
        self._told: dict[str, tuple[int, int]] = {}
        self._demands: dict[str, Demand] = {}
        self._settled: dict[str, int] = {}

    def begin(self) -> None:
        """Let the sampler get ready; there will be questions."""
        self._thinker().begin()

    def keep(self, studies: set[str]) -> None:
        """Forget all other studies."""
        gone = (self._told.keys() | self._demands.keys() | self._settled.keys()) - studies
        for study_id in gone:
            self.forget(study_id)
        if gone and self._mind is not None:
            self._mind.keep(studies)

    def forget(self, study_id: str) -> None:
        """Tell this study anew the next time."""
        for known in (self._told, self._demands, self._settled):
            known.pop(study_id, None)

    def forget_all(self) -> None:
        for study_id in list(self._told):
            self.forget(study_id)

    def demand(self, study_id: str) -> Demand:
        return self._demands.setdefault(study_id, Demand())

    def settle(self, study: Study) -> None:
        """Note that the study needs nothing as it is."""
        self._settled[study.id] = study.revision

    def is_settled(self, study_id: str, revision: int) -> bool:
        return self._settled.get(study_id) == revision

    def catch_up(self, session: Session, study: Study) -> None:
        """Tell the sampler of the rows that changed since the last time."""
        mind = self._thinker()
        if study.id not in self._told:
            calibration = study.calibrated()
            if calibration is None:
                raise ValueError(f"study {study.id} has no calibration, so nothing to propose")
            mind.meet(study.id, study.parsed(), self._vocabulary, calibration)
        objectives = study.parsed().objectives
        told = self._told.get(study.id, (-1, -1))
        # Whoever changes a trial holds its study's row until the commit, so revisions appear in
        # order and none is skipped; trials of one revision appear together.
        while page := _changed(session, study, told):
            mind.tell(study.id, [_seen(row, objectives) for row in page if row.coordinates])
            told = page[-1].revision, page[-1].number
            if len(page) < _PAGE:
                break
        self._told[study.id] = told

    def propose(self, study_id: str, numbers: Sequence[int], clock: int) -> list[Proposal]:
        """Proposals that know of every end up to this time of the study's clock."""
        return self._thinker().propose(study_id, numbers, clock)

    def _thinker(self) -> Thinker:
        if self._mind is None:
            from service.tuner.mind import Mind

            self._mind = Mind()
        return self._mind


def _changed(session: Session, study: Study, told: tuple[int, int]) -> Sequence[Row[Any]]:
    return session.execute(
        select(
            Trial.revision,
            Trial.number,
            Trial.state,
            Trial.coordinates,
            Trial.metrics,
            Trial.finished_clock,
        )
        .where(
            Trial.study_id == study.id,
            Trial.revision >= told[0],  # for the index
            tuple_(Trial.revision, Trial.number) > told,
            Trial.kind == TrialKind.SEARCH,
        )
        .order_by(Trial.revision, Trial.number)
        .limit(_PAGE)
    ).all()


def _seen(row: Row[Any], objectives: list[str]) -> Observation:
    complete = row.state is TrialState.COMPLETE
    return Observation(
        number=row.number,
        coordinates=row.coordinates,
        state=_STATES[row.state],
        values=[row.metrics[name] for name in objectives] if complete else None,
        clock=row.finished_clock or 0,
    )
