"""Which term's share decides, per objective."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from service.contract.study import StudyDefinition
from service.contract.trial import Importance
from service.contract.vocabulary import Vocabulary
from service.tuner.observation import Observation
from service.tuner.space import Space

#: With fewer, the best few and the rest cannot be told apart.
LEAST_TRIALS = 8
# As many of the best as the evaluator's authors advise, where there are enough trials.
_TOP_TRIALS = 5


def importance(
    definition: StudyDefinition, vocabulary: Vocabulary, observations: Iterable[Observation]
) -> list[Importance]:
    """How much each searched term's share decides whether a trial is among the best, adding to 1.

    PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255) on the shares themselves, not on the
    sampler's coordinates: it compares where the best trials lie (a tenth, or five if that is more,
    at most half) with where all lie. Shares add up to 1, so two terms that replace each other are
    both important. All 0 for an objective in which the best cannot be told from the rest; empty
    with fewer than eight complete trials. Takes seconds at thousands of trials.
    """
    space = Space(definition, vocabulary)
    keys = [term.key for term in space.searched]
    scored = [(_shares(space, seen), seen.values) for seen in observations if seen.values]
    table = [([shares[key] for key in keys], values) for shares, values in scored if shares]
    if len(table) < LEAST_TRIALS:
        return []
    shares = np.array([row for row, _ in table])
    found = []
    for place, name in enumerate(definition.objectives):
        sign = -1.0 if vocabulary.metrics[name].direction == "maximize" else 1.0
        weights = _ped_anova(shares, [sign * values[place] for _, values in table])
        found.append(Importance(objective=name, terms=dict(zip(keys, weights, strict=True))))
    return found


def _shares(space: Space, seen: Observation) -> dict[str, float] | None:
    """The trial's shares as recorded, else as its coordinates say; None when neither does."""
    if seen.shares:
        return {term.key: seen.shares.get(term.key, 0.0) for term in space.searched}
    if seen.coordinates is None or space.definition.search.space != "shares":
        return None
    return space.searched_shares(seen.coordinates)


def _ped_anova(shares: np.ndarray, losses: Sequence[float]) -> list[float]:
    """One importance per column of `shares`, for small `losses`."""
    top = min(max(0.1, _TOP_TRIALS / len(losses)), 0.5)
    if sorted(losses)[math.ceil(top * len(losses)) - 1] == max(losses):
        return [0.0] * shares.shape[1]
    # Here, because the service would start later with Optuna than without.
    import optuna
    from optuna.distributions import BaseDistribution, FloatDistribution
    from optuna.importance import PedAnovaImportanceEvaluator
    from optuna.trial import create_trial

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # The evaluator works on a grid of 50 points, so the ranges are those that were really tried.
    spans: dict[str, BaseDistribution] = {
        f"{column}": FloatDistribution(float(tried.min()), float(tried.max()))
        for column, tried in enumerate(shares.T)
    }
    study = optuna.create_study(direction="minimize")
    for row, loss in zip(shares, losses, strict=True):
        params = {f"{column}": float(share) for column, share in enumerate(row)}
        study.add_trial(create_trial(params=params, distributions=spans, value=loss))
    weights = optuna.importance.get_param_importances(
        study, evaluator=PedAnovaImportanceEvaluator(target_quantile=top)
    )
    return [weights[name] for name in spans]
