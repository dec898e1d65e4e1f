"""The outcome of a study as files of its summary run: the front, and the weights to take home."""

from __future__ import annotations

import json
from collections.abc import Sequence

from service.contract.study import StudyDefinition
from service.contract.trial import TrialKind, TrialState
from service.contract.vocabulary import Vocabulary
from service.models import Trial
from service.tracking.pages import rounded, table


def outcome_files(
    definition: StudyDefinition, vocabulary: Vocabulary, trials: Sequence[Trial]
) -> dict[str, bytes]:
    """`front.json`, a table for MLflow's viewer, and `weights.json`, raw weights by trial."""
    objectives = definition.objectives
    scored = [
        trial
        for trial in trials
        if trial.state is TrialState.COMPLETE
        and trial.kind is TrialKind.SEARCH
        and all(name in trial.metrics for name in objectives)
    ]
    front = _front(scored, objectives, vocabulary)
    terms = [term.key for term in definition.losses]
    columns = [
        "trial",
        "origin",
        *objectives,
        *(f"w.{t}" for t in terms),
        *(f"s.{t}" for t in terms),
    ]
    rows = [
        [
            trial.number,
            trial.origin,
            *(rounded(trial.metrics[name]) for name in objectives),
            *(trial.weights.get(term, 0.0) for term in terms),
            *(rounded(trial.shares.get(term, 0.0)) for term in terms),
        ]
        for trial in front
    ]
    weights = {
        f"t{trial.number:03d}": {
            "weights": trial.weights,
            "metrics": trial.metrics,
            "origin": trial.origin,
        }
        for trial in front
    }
    return {
        "front.json": table(columns, rows),
        "weights.json": json.dumps(weights, indent=2).encode(),
    }


def _front(
    trials: Sequence[Trial], objectives: Sequence[str], vocabulary: Vocabulary
) -> list[Trial]:
    """The non-dominated trials, in order of the first objective, best last."""
    signs = [
        1.0
        if name in vocabulary.metrics and vocabulary.metrics[name].direction == "minimize"
        else -1.0
        for name in objectives
    ]
    costs = {
        trial.uid: [s * trial.metrics[n] for s, n in zip(signs, objectives, strict=True)]
        for trial in trials
    }

    def dominated(mine: list[float]) -> bool:
        return any(
            other != mine and all(o <= m for o, m in zip(other, mine, strict=True))
            for other in costs.values()
        )

    front = [trial for trial in trials if not dominated(costs[trial.uid])]
    return sorted(front, key=lambda trial: (-costs[trial.uid][0], trial.number))
