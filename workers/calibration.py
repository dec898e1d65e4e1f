"""How hard each term pulls: ‖∂Lᵢ/∂θ‖ over the generator's parameters, and shares of the pull."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

import losses
from service.contract.trial import Calibration
from workers.criterion import Criterion
from workers.data.pairs import Batch
from workers.suppliers import Step

Gradients = dict[str, list[Tensor]]


class CalibrationFailed(Exception):
    """A term has no finite gradient at the start, so no share can be turned into a weight."""


def gradients(parts: Mapping[str, Tensor], parameters: Sequence[nn.Parameter]) -> Gradients:
    """Return ∂Lᵢ/∂θ of each term, unweighted; the graph stays for another use."""
    return {
        key: list(
            torch.autograd.grad(
                part, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
            )
        )
        for key, part in parts.items()
    }


def norm(gradient: Sequence[Tensor]) -> float:
    """Return the Euclidean norm of a gradient over all parameters."""
    return float(torch.nn.utils.get_total_norm(gradient))


def combine(
    found: Gradients, weights: Mapping[str, float], parameters: Sequence[nn.Parameter]
) -> None:
    """Set the parameters' gradients to Σ wᵢ·∂Lᵢ/∂θ: the step's gradient without another pass."""
    for index, parameter in enumerate(parameters):
        parameter.grad = sum(
            (weights[key] * gradient[index] for key, gradient in found.items()),
            start=torch.zeros_like(parameter),
        )


def shares(weights: Mapping[str, float], norms: Mapping[str, float]) -> dict[str, float]:
    """Return wᵢ·nᵢ / Σ wⱼ·nⱼ of each term of `norms`; all zero where nothing pulls."""
    pulls = {key: weights.get(key, 0.0) * norms[key] for key in norms}
    total = sum(pulls.values())
    return {key: pull / total if total > 0 else 0.0 for key, pull in pulls.items()}


def measure(generator: nn.Module, criterion: Criterion, batches: Iterable[Batch]) -> Calibration:
    """Return each term's gradient norm and value at the generator, mean over batches.

    In full precision; changes nothing in the generator. Raises CalibrationFailed for a norm that
    is not finite (a norm of zero is recorded as such).
    """
    parameters = list(generator.parameters())
    norms: dict[str, list[float]] = {key: [] for key in criterion.terms}
    values: dict[str, list[float]] = {key: [] for key in criterion.terms}
    for batch in batches:
        step = Step(batch, generator(batch.lr))
        with losses.trusted():
            parts = criterion.parts(step, criterion.given(step))
        for key, gradient in gradients(parts, parameters).items():
            norms[key].append(norm(gradient))
            values[key].append(float(parts[key].detach()))
    counted = len(next(iter(norms.values())))
    means = {key: math.fsum(found) / counted for key, found in norms.items()}
    for key, mean in means.items():
        if not math.isfinite(mean):
            raise CalibrationFailed(
                f"the gradient of {key} is {mean} at the pre-trained start; remove the term, or "
                "change its parameters"
            )
    return Calibration(
        norms=means,
        values={key: math.fsum(found) / counted for key, found in values.items()},
        batches=counted,
    )
