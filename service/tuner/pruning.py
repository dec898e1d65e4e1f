"""When a trial may be stopped early: where rungs are known to tell, and it lags behind."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from service.contract.study import Pruning, StudyDefinition
from service.contract.trial import Metrics, Transfer
from service.contract.vocabulary import Vocabulary
from service.tuner.fronts import ranks
from service.tuner.transfer import transfer


@dataclass(frozen=True)
class Decision:
    """Stop or go on, and the figures behind it in one sentence."""

    prune: bool
    reason: str


def decide(
    definition: StudyDefinition,
    vocabulary: Vocabulary,
    *,
    number: int,
    step: int,
    rungs: Mapping[int, Mapping[int, Metrics]],
    finals: Mapping[int, Metrics],
) -> Decision:
    """Whether trial `number` stops at the rung `step`, which it has just reported.

    `rungs` maps trial number → step → metrics and holds this report; `finals` holds the metrics of
    complete trials. Trials at the rung are sorted into fronts. A trial stops when the fronts before
    its own already hold the fraction `keep` of all trials at the rung; a front is never split, so
    ties go on, and the first front always does. Measured on the trials that were kept, so the
    correlation is a low estimate once pruning has begun.
    """
    early = never(definition, step)
    if early is not None:
        return early
    names = definition.objectives
    measured = transfer(rungs, finals, names, steps=[step])[0]
    scored = {n: rungs[n].get(step, {}) for n in sorted(rungs)}
    peers = {n: [m[name] for name in names] for n, m in scored.items() if m.keys() >= set(names)}
    directions = [vocabulary.metrics[name].direction for name in names]
    rung = Rung(definition.pruning, measured, peers)
    return rung.decide(number, peers.get(number), directions)


def never(definition: StudyDefinition, step: int) -> Decision | None:
    """The decision where no score can change it: without pruning, or before its first rung."""
    pruning = definition.pruning
    if pruning.method == "none":
        return Decision(False, "the study does not prune")
    first = round(pruning.after * definition.training.steps)  # as rungs are rounded
    return Decision(False, f"no pruning before step {first}") if step < first else None


class Rung:
    """What trials at one rung are compared with; many may be, and cheaply.

    `peers` maps trial number → objectives.
    """

    def __init__(
        self,
        pruning: Pruning,
        measured: Transfer,
        peers: Mapping[int, Sequence[float]],
    ) -> None:
        self.measured = measured
        self.peers = peers
        self._pruning = pruning
        self._sorted: tuple[np.ndarray, np.ndarray, list[int]] | None = None

    def decide(
        self, number: int, scores: Sequence[float] | None, directions: Sequence[str]
    ) -> Decision:
        """Whether a trial with these objectives stops here; it may be one of the peers.

        `directions` are those of the study's objectives, always the same.
        """
        unsure = _distrust(self._pruning, self.measured)
        if unsure is not None:
            return Decision(False, unsure)
        step = self.measured.step
        if scores is None:
            return Decision(
                False, f"trial {number} has not reported every objective at step {step}"
            )
        own, ahead = self._place(scores, directions)
        peers = len(self.peers) + (number not in self.peers)
        going_on = math.ceil(self._pruning.keep * peers)
        place = f"{ahead} of {peers} trials are on better fronts at step {step}"
        if own == 0 or ahead < going_on:
            return Decision(False, f"{place}, and {going_on} go on")
        least = min(rho for rho in self.measured.correlation.values() if rho is not None)
        return Decision(
            True,
            f"{place}, only {going_on} go on, and ranks here agree with the end by ρ ≥ {least:.2f} "
            f"over {self.measured.trials} trials",
        )

    def _place(self, scores: Sequence[float], directions: Sequence[str]) -> tuple[int, int]:
        """The trial's front among the peers, and how many of them are on better ones.

        A newcomer moves only those it beats, which are behind it: its front is the one after the
        last that holds somebody who beats it.
        """
        signs = np.array([-1.0 if d == "maximize" else 1.0 for d in directions])
        if self._sorted is None:
            values = list(self.peers.values())
            found = ranks(values, directions)
            losses = np.asarray(values, float).reshape(-1, len(signs)) * signs
            self._sorted = losses, np.asarray(found, int), sorted(found)
        losses, fronts, in_order = self._sorted
        own = np.asarray(scores, float) * signs
        beaten_by = (losses <= own).all(axis=1) & (losses < own).any(axis=1)
        front = int(fronts[beaten_by].max(initial=-1)) + 1
        return front, bisect_left(in_order, front)


def _distrust(pruning: Pruning, measured: Transfer) -> str | None:
    """Why the ranking at this rung says too little; None when it is good enough."""
    step = measured.step
    if measured.trials < pruning.trials:
        return (
            f"{measured.trials} complete trials have a score at step {step}, and pruning needs "
            f"{pruning.trials}"
        )
    for name, correlation in measured.correlation.items():
        if correlation is None:
            return f"{name} has no rank correlation between step {step} and the end"
        if correlation < pruning.transfer:
            return (
                f"ranks by {name} at step {step} agree with the end by ρ = {correlation:.2f}, "
                f"below {pruning.transfer:.2f}"
            )
    return None
