"""What recipes' discriminators minimise, against the peers' training steps in plain torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import losses
from tests.losses.peers import bce, mse

Both = Callable[[Tensor, Tensor], Tensor]


def _summed(score: Callable[[Tensor, bool], Tensor]) -> Both:
    """BasicSR, KAIR and mmagic: real and fake each run backward, so their sum is minimised."""
    return lambda real, fake: score(real, True) + score(fake, False)


def _ragan_d(mean: Callable[[Tensor], Tensor], *, detach: bool = True) -> Both:
    """BasicSR's ESRGANModel; KAIR's mean is per position; WGSR does not detach."""

    def value(real: Tensor, fake: Tensor) -> Tensor:
        means = (mean(fake), mean(real))
        by_fake, by_real = (x.detach() for x in means) if detach else means
        return (bce(real - by_fake, True) + bce(fake - by_real, False)) * 0.5

    return value


def _tensorpack_d(real: Tensor, fake: Tensor) -> Tensor:
    """GANModelDesc.build_losses, times GAN_FACTOR_PARAMETER."""
    return 2.0 * (0.5 * bce(real, True) + 0.5 * bce(fake, False))


DISCRIMINATORS: dict[str, Both] = {
    "srgan": _summed(bce),
    "msrgan": _summed(bce),
    "enhancenet": _tensorpack_d,
    "esrgan": _ragan_d(torch.mean),
    "kair-msrresnet-gan": _ragan_d(lambda logits: torch.mean(logits, 0, True)),
    "bsrgan": _summed(mse),
    "bsrgan-released": _summed(mse),
    "real-esrgan": _summed(bce),
    "swinir-gan": _summed(bce),
    "ldl": _ragan_d(torch.mean),
    "ldl-real": _summed(bce),
    "realbasicvsr": _summed(bce),
    "safmn-real": _summed(bce),
    "wgsr": _ragan_d(torch.mean, detach=False),
}


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_the_discriminator_minimises_what_the_originals_does(name: str) -> None:
    generator = torch.Generator().manual_seed(8)
    sr, hr = (torch.rand(2, 3, 16, 16, generator=generator, dtype=torch.float64) for _ in "ab")
    d = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3, 2)).double()
    for parameter in d.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    term = next(t for t in losses.RECIPES[name].terms if t.loss == "adversarial")
    loss: Any = losses.build("adversarial", **term.parameters)
    ours = loss.discriminator_loss(sr, hr, d)
    theirs = DISCRIMINATORS[name](d(hr), d(sr))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    by_ours, by_theirs = (torch.autograd.grad(v, [*d.parameters()]) for v in (ours, theirs))
    for a, b in zip(by_ours, by_theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def test_every_adversarial_recipe_but_the_saturating_one_is_held_against_its_discriminator() -> (
    None
):
    adversarial = {
        recipe.name
        for recipe in losses.RECIPES.values()
        if any(term.loss == "adversarial" for term in recipe.terms)
    }
    assert adversarial - set(DISCRIMINATORS) == {"srgan-tv"}
