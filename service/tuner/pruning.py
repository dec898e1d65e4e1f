"""When a trial may be stopped early: where rungs are known to tell, and it lags behind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

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
    pruning, names = definition.pruning, definition.objectives
    if pruning.method == "none":
        return Decision(False, "the study does not prune")
    first = round(pruning.after * definition.training.steps)  # as rungs are rounded
    if step < first:
        return Decision(False, f"no pruning before step {first}")
    measured = transfer(rungs, finals, names, steps=[step])[0]
    unsure = _distrust(pruning, measured)
    if unsure is not None:
        return Decision(False, unsure)
    peers = [n for n in sorted(rungs) if all(name in rungs[n].get(step, {}) for name in names)]
    if number not in peers:
        return Decision(False, f"trial {number} has not reported every objective at step {step}")
    directions = [vocabulary.metrics[name].direction for name in names]
    fronts = ranks([[rungs[n][step][name] for name in names] for n in peers], directions)
    own = fronts[peers.index(number)]
    ahead = sum(rank < own for rank in fronts)
    going_on = math.ceil(pruning.keep * len(peers))
    place = f"{ahead} of {len(peers)} trials are on better fronts at step {step}"
    if own == 0 or ahead < going_on:
        return Decision(False, f"{place}, and {going_on} go on")
    least = min(rho for rho in measured.correlation.values() if rho is not None)
    return Decision(
        True,
        f"{place}, only {going_on} go on, and ranks here agree with the end by ρ ≥ {least:.2f} "
        f"over {measured.trials} trials",
    )


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
