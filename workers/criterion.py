"""The sum L = Σ wᵢ·Lᵢ over an open list of terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

import losses
from service.contract.study import Term
from workers.suppliers import DefinitionError, Networks, Supplier, suppliers


@dataclass(frozen=True)
class Criterion:
    """The terms of one training, with their weights and what they need."""

    terms: Mapping[str, nn.Module]  #: by key, in the order of the study
    weights: Mapping[str, float]
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    suppliers: Mapping[str, Supplier] = field(default_factory=dict)

    def parts(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """Return Lᵢ of each term, unweighted, of (N, 3, H, W) images in [0, 1]."""
        given = {need: supply(sr, hr) for need, supply in self.suppliers.items()}
        return {
            key: loss(sr, hr, **{need: given[need][key] for need in self.needs[key]})
            for key, loss in self.terms.items()
        }

    def total(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Return Σ wᵢ·Lᵢ."""
        return torch.stack([self.weights[key] * part for key, part in parts.items()]).sum()


def modules(terms: Sequence[Term]) -> dict[str, nn.Module]:
    """Return the loss modules of terms by key; raises DefinitionError for what cannot be built."""
    try:
        return {term.key: losses.build(term.loss, **term.parameters) for term in terms}
    except (losses.UnknownLoss, losses.InvalidParameter) as error:
        raise DefinitionError(str(error)) from error


def criterion(
    terms: Sequence[Term],
    built: Mapping[str, nn.Module],
    *,
    weights: Mapping[str, float],
    networks: Networks,
    adversaries: Mapping[str, nn.Module],
) -> Criterion:
    """Return the sum of the terms whose weight is above zero; of the others nothing is computed."""
    live = [term for term in terms if weights.get(term.key, 0.0) > 0]
    if not live:
        raise DefinitionError("every weight is zero, so there is nothing to train on; raise one")
    needs = {term.key: losses.SPECS[term.loss].needs for term in live}
    chosen = {term.key: built[term.key] for term in live}
    return Criterion(
        terms=chosen,
        weights={key: float(weights[key]) for key in chosen},
        needs=needs,
        suppliers=suppliers(needs, chosen, networks, adversaries),
    )
