"""The sum L = Σ wᵢ·Lᵢ over an open list of terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

import losses
from service.contract.study import Data, Term
from workers.suppliers import DefinitionError, Networks, Step, Supplier, suppliers

#: What each term is given beside SR and HR: key of the term → need → thing.
Given: TypeAlias = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Criterion:
    """The terms of one training, with their weights and what they need."""

    terms: Mapping[str, nn.Module]  #: by key, in the order of the study
    weights: Mapping[str, float]
    suppliers: Mapping[str, Supplier] = field(default_factory=dict)  #: by need

    @cached_property
    def needs(self) -> Mapping[str, tuple[str, ...]]:
        """What each term must be given, by its key."""
        return {key: losses.needs_of(loss) for key, loss in self.terms.items()}

    def given(self, step: Step) -> Given:
        """Return what the terms need of this step, each thing made once for all of them."""
        supplied = {need: supply(step) for need, supply in self.suppliers.items()}
        return {
            key: {need: supplied[need][key] for need in needs} for key, needs in self.needs.items()
        }

    def parts(self, step: Step, given: Given) -> dict[str, Tensor]:
        """Return Lᵢ of each term, unweighted."""
        return {key: loss(step.sr, step.hr, **given[key]) for key, loss in self.terms.items()}

    def total(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Return Σ wᵢ·Lᵢ."""
        return torch.stack([self.weights[key] * part for key, part in parts.items()]).sum()


def modules(terms: Sequence[Term], data: Data) -> dict[str, nn.Module]:
    """Return the loss modules of terms by key, for pairs of `data`.

    Raises DefinitionError for what cannot be built, or not used with these data.
    """
    built: dict[str, nn.Module] = {}
    for term in terms:
        try:
            built[term.key] = losses.build(term.loss, **_parameters(term, data))
        except (losses.UnknownLoss, losses.InvalidParameter) as error:
            raise DefinitionError(str(error)) from error
        _check_classes(term.key, built[term.key], data)
    return built


def criterion(
    terms: Sequence[Term],
    built: Mapping[str, nn.Module],
    *,
    weights: Mapping[str, float],
    networks: Networks,
    companions: Mapping[str, nn.Module],
) -> Criterion:
    """Return the sum of the terms whose weight is above zero; of the others nothing is computed."""
    live = [term.key for term in terms if weights.get(term.key, 0.0) > 0]
    if not live:
        raise DefinitionError("every weight is zero, so there is nothing to train on; raise one")
    chosen = {key: built[key] for key in live}
    return Criterion(
        terms=chosen,
        weights={key: float(weights[key]) for key in chosen},
        suppliers=suppliers(chosen, networks, companions),
    )


def _parameters(term: Term, data: Data) -> dict[str, Any]:
    """The term's parameters; a loss that must know how much smaller LR is gets it from the data."""
    given = dict(term.parameters)
    spec = losses.SPECS.get(term.loss)
    for parameter in spec.parameters if spec else ():
        asks = parameter.name == "scale" and parameter.type == "int"
        if asks and not parameter.default and given.get("scale", 0) == 0:
            given["scale"] = data.scale
    return given


def _check_classes(key: str, loss: nn.Module, data: Data) -> None:
    if "labels" not in losses.needs_of(loss):
        return
    wanted, found = getattr(loss, "classes", len(data.classes)), len(data.classes)
    if not found:
        raise DefinitionError(
            f"{key} needs the class of every photo, but data.classes is empty; name its "
            f"{wanted or 'two or more'} classes there, each with its photos"
        )
    if wanted != found:
        raise DefinitionError(
            f"{key}.classes is {wanted}, but data.classes names {found} "
            f"({', '.join(data.classes)}); make them agree"
        )
