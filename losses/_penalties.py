"""Penalties on the slope of a discriminator, which keep its game from running away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from losses._functional import UnsuitableInput, full_precision

PenaltyNorm = Literal["sample", "pixel"]


def r1_penalty(real_logits: Tensor, real: Tensor, *, norm: PenaltyNorm = "sample") -> Tensor:
    """Return R1, the squared slope of D at HR, a scalar of at least 0, without the factor γ/2.

    mean_n Σ (d ΣD(HR) / d HR)² (Mescheder et al., "Which training methods for GANs do actually
    converge?", ICML 2018; BasicSR, StyleGAN2, mmagic's HWC). norm pixel: the sum runs over channels
    only, the mean over samples and pixels: H·W times smaller (mmagic's default).
    `real_logits` were computed from `real` (N, C, H, W), which requires a gradient.
    """
    squares = _slope(real_logits, real).square()
    return squares.sum(dim=1).mean() if norm == "pixel" else squares.flatten(1).sum(dim=1).mean()


def gradient_penalty(
    discriminator: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    alpha: Tensor,
    norm: PenaltyNorm = "sample",
) -> Tensor:
    """Return how far the slope of D is from 1 between HR and SR, a scalar of at least 0, without λ.

    mean_n (‖dD/dx̂‖₂ - 1)², x̂ = α·HR + (1 - α)·SR, α (N, 1, 1, 1) in [0, 1] (Gulrajani et al.,
    "Improved training of Wasserstein GANs", NeurIPS 2017; λ = 10 there). norm pixel: norms over the
    channels of every pixel, the mean over samples and pixels (BasicSR, traiNNer-redux, mmagic's
    default): another quantity, and in super-resolution far smaller.
    """
    between = (alpha * real + (1 - alpha) * fake).detach().requires_grad_()
    slope = _slope(discriminator(between), between)
    norms: Tensor = torch.linalg.vector_norm(slope if norm == "pixel" else slope.flatten(1), dim=1)
    return (norms - 1).square().mean()


def mixtures(step: int | None, like: Tensor) -> Tensor:
    """Return α (N, 1, 1, 1), uniform in [0, 1), for a batch; the step alone decides them."""
    if step is None:
        raise UnsuitableInput(
            "The gradient penalty mixes HR and SR by numbers that the step decides; hand over step."
        )
    # Drawn on the CPU, so that every device and a resumed training get the same.
    generator = torch.Generator().manual_seed(step)
    return torch.rand(len(like), 1, 1, 1, generator=generator).to(like)


def _slope(logits: Tensor, at: Tensor) -> Tensor:
    (slope,) = torch.autograd.grad(full_precision(logits).sum(), at, create_graph=True)
    return full_precision(slope)
