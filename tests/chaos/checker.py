"""The promises, checked offline against what clients heard and what the rows say.

`violations` is a pure function of a history and a dump. Invariants are numbered as in the facts:

I1   every trial ends in exactly one terminal state, by legal moves only
I2   at most one result is accepted, of the newest lease, and it is one that somebody sent
I3   tokens of a trial grow by one, two leases never overlap, none lapses before its time
I4   no write of an older lease is accepted after a newer one was granted
I5   every acknowledged write is in the rows
I6   a repeat gets the first answer, and a refusal is final
I7   running trials stay within the study's limit, device time within the budget and one lease,
     and a worker in quarantine gets nothing
I9   as many trials as numbers were given out: retries add none, the budget is met exactly, and
     the counts that decisions read agree with the rows

I8 (the sampler's memory, MLflow's pages) needs more than a history: see `memory.py` and `pages.py`.
I10 (whose turn it is) is for a calm fleet: an interrupted trial always goes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.chaos import accounts, answers, outcomes
from tests.chaos.evidence import Evidence


@dataclass(frozen=True)
class Violation:
    """One broken promise."""

    invariant: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.sentence}"


Check = Callable[[Evidence], Iterator[str]]


def violations(evidence: Evidence) -> list[Violation]:
    """Every broken promise that the evidence shows."""
    return [
        Violation(invariant, sentence)
        for invariant, checks in CHECKS.items()
        for check in checks
        for sentence in check(evidence)
    ]


#: Which checks hold which promise.
CHECKS: dict[str, tuple[Check, ...]] = {
    "I1": (outcomes.ends_once, outcomes.moves_are_legal),
    "I2": (outcomes.one_result, outcomes.result_was_sent),
    "I3": (outcomes.tokens_grow, outcomes.grants_are_rows, outcomes.none_lapses_early),
    "I4": (answers.old_leases_are_fenced,),
    "I5": (
        answers.acknowledged_ends_are_rows,
        answers.acknowledged_reports_are_rows,
        answers.acknowledged_objects_are_kept,
        answers.submitted_studies_are_rows,
        answers.no_server_error,
    ),
    "I6": (answers.repeats_agree, answers.lost_is_final, answers.lease_requests_repeat),
    "I7": (accounts.within_limits, accounts.within_budget, accounts.quarantined_get_nothing),
    "I9": (accounts.numbers_are_whole, accounts.counts_agree),
}
