"""Whose turn it is: priorities, and a fair share of the fleet for owners and their studies.

Start-time fair queueing (Goyal, Vin & Cheng 1996): every study has a virtual time; a lease begins
at max(the study's, the fleet's) and moves the study's on by the lease's cost over its weight. The
study that would begin first goes first. Shares then follow the weights with one slot as with
hundreds, who was idle gains no credit, and who comes late has no debt. The cost of a lease is the
mean device time of the study's attempts, so that long trials do not crowd out short ones. An
owner's weight is divided among its studies: more studies are not more share.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from service.contract.trial import StudyState
from service.models import Owner, Study


@dataclass
class Turn:
    """What decides about a study's turn, as read at the beginning of a round of leases."""

    study_id: str
    owner: str
    limited: bool  #: its owner has a quota
    priority: int
    created: float
    waiting: int
    running: int
    interrupted: int
    mean_seconds: float  #: of its attempts; 0: none ended yet
    starts: float  #: virtual time of the last lease's start
    ends: float  #: ... and of its end
    searched: int  #: trials proposed so far; 0 before there is anything to propose
    share: float  #: of the fleet
    cost: float = 1.0  #: virtual time one trial takes

    def take(self, study: Study, trials: int) -> None:
        """Move the study on by the trials it was just given."""
        self.starts = self.ends + (trials - 1) * self.cost
        self.ends += trials * self.cost
        self.waiting -= trials
        self.running += trials
        self.interrupted = max(self.interrupted - trials, 0)
        study.fair_start, study.fair_end = self.starts, self.ends


def read_turns(session: Session) -> list[Turn]:
    """All studies that give work, in one statement."""
    rows = session.execute(
        select(
            Study.id,
            Study.owner,
            Owner.name.is_not(None),
            Study.priority,
            Study.created,
            Study.unfinished - Study.running,
            Study.running,
            Study.interrupted,
            case(
                (Study.attempts_ended > 0, Study.device_seconds / Study.attempts_ended), else_=0.0
            ),
            Study.fair_start,
            Study.fair_end,
            case((Study.seeded, Study.searched), else_=0),
            func.coalesce(Owner.weight, 1.0) * Study.weight,
            Study.weight,
        )
        .outerjoin(Owner, Owner.name == Study.owner)
        .where(Study.state.in_((StudyState.ACTIVE, StudyState.CONFIRMING)))
    ).all()
    turns = [Turn(*row[:-1]) for row in rows]
    _share([row[-1] for row in rows], turns)
    _price(turns)
    return turns


def in_order(turns: Iterable[Turn], cached: Collection[str]) -> list[Turn]:
    """Studies with something to give, the most deserving first, for who holds these in memory."""

    def rank(turn: Turn) -> tuple[float, ...]:
        # Within one trial of each other two studies deserve the same; then a warm cache decides.
        head_start = turn.cost if turn.study_id in cached else 0.0
        return (
            -turn.priority,
            not turn.interrupted,
            turn.ends - head_start,
            turn.running,
            turn.created,
        )

    return sorted((turn for turn in turns if turn.waiting > 0), key=rank)


def _share(weights: list[float], turns: list[Turn]) -> None:
    """Divide each owner's weight among its studies."""
    totals: dict[str, float] = {}
    for turn, weight in zip(turns, weights, strict=True):
        totals[turn.owner] = totals.get(turn.owner, 0.0) + weight
    for turn in turns:
        turn.share /= totals[turn.owner]


def _price(turns: list[Turn]) -> None:
    """Fill in what a trial costs, and bring late-comers up to the fleet's time."""
    known = [turn.mean_seconds for turn in turns if turn.mean_seconds]
    # In typical trials rather than seconds: a study whose trials nobody timed yet is typical.
    typical = sum(known) / len(known) if known else 1.0
    for turn in turns:
        turn.cost = (turn.mean_seconds or typical) / typical / turn.share
    for priority in {turn.priority for turn in turns}:
        peers = [turn for turn in turns if turn.priority == priority]
        # One trial of slack, so that a place lost to a warm cache is not lost for good.
        fleet_time = max(peer.starts for peer in peers) - max(peer.cost for peer in peers)
        for peer in peers:
            peer.ends = max(peer.ends, fleet_time)
