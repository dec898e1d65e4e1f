"""The discriminator's verdict on SR, with the loss that trains the discriminator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from losses._discriminators import PatchDiscriminator
from losses._functional import full_precision, image_pair
from losses._registry import register
from losses._spec import Range

Kind = Literal["vanilla", "relativistic", "lsgan", "hinge"]


@register(
    "adversarial",
    family="adversarial",
    side="perception",
    share=(0.0, 0.8),
    cost="medium",
    compares=False,
)
class Adversarial(nn.Module):
    """How far the discriminator D is from taking SR for HR; D itself is trained on the side.

    Generator (forward) and discriminator (`discriminator_loss`), means over all logits, s = sigmoid:
    vanilla: -log s(D(SR)); -log s(D(HR)) - log(1 - s(D(SR))) (Goodfellow 2014, not saturating).
    lsgan: (D(SR) - 1)²; (D(HR) - 1)² + D(SR)², without the paper's 1/2 (Mao 2017; BasicSR).
    hinge: -D(SR), may be negative; max(0, 1 - D(HR)) + max(0, 1 + D(SR)) (Lim, Ye 2017).
    relativistic: vanilla on D(HR) - mean D(SR) and D(SR) - mean D(HR), both halves averaged (RaGAN of
    Jolicoeur-Martineau 2019, ESRGAN; as in BasicSR the mean runs over the whole batch and all
    positions, the generator's gradient also flows through mean D(SR), both means are constants for
    D). It is the only kind whose value for one image depends on the others in the batch.

    Images (N, 3, H, W) in [0, 1]. The value is not least at SR = HR. D is a patch discriminator of
    `channels`, `depth` and `spectral_norm`. `forward` leaves D as it was: no gradient reaches D's
    parameters and, in eval mode for the call, spectral normalisation does not move; measuring a
    gradient norm therefore changes nothing. `discriminator_loss` moves it once per call.
    """

    def __init__(
        self,
        kind: Annotated[Kind, "form of the game"] = "vanilla",
        channels: Annotated[int, Range(4, 256), "width of D's first layer"] = 32,
        depth: Annotated[int, Range(1, 6), "halvings in D; its patches grow with it"] = 3,
        spectral_norm: Annotated[bool, "bound the slope of D's inner layers"] = True,
    ) -> None:
        super().__init__()
        self.kind: Kind = kind
        self.channels = channels
        self.depth = depth
        self.spectral_norm = spectral_norm

    def build_discriminator(self) -> nn.Module:
        """Return a fresh discriminator; seed torch's global generator before (`fork_rng`)."""
        return PatchDiscriminator(self.channels, self.depth, spectral_norm=self.spectral_norm)

    def forward(self, sr: Tensor, hr: Tensor, *, discriminator: nn.Module) -> Tensor:
        sr, hr = image_pair(sr, hr)
        with _untouched(discriminator):
            fake = _logits(discriminator, sr)
            if self.kind == "relativistic":
                with torch.no_grad():
                    real = _logits(discriminator, hr)
                return (_bce(real - fake.mean(), 0.0) + _bce(fake - real.mean(), 1.0)) / 2
        if self.kind == "vanilla":
            return _bce(fake, 1.0)
        if self.kind == "lsgan":
            return (fake - 1).square().mean()
        return -fake.mean()

    def discriminator_loss(self, sr: Tensor, hr: Tensor, discriminator: nn.Module) -> Tensor:
        """Return the scalar D minimises; SR is detached here, and both pass D as one batch."""
        sr, hr = image_pair(sr.detach(), hr.detach())
        real, fake = full_precision(discriminator(torch.cat([hr, sr]))).chunk(2)
        if self.kind == "relativistic":
            constant_real, constant_fake = real.mean().detach(), fake.mean().detach()
            return (_bce(real - constant_fake, 1.0) + _bce(fake - constant_real, 0.0)) / 2
        if self.kind == "vanilla":
            return _bce(real, 1.0) + _bce(fake, 0.0)
        if self.kind == "lsgan":
            return (real - 1).square().mean() + fake.square().mean()
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


@contextmanager
def _untouched(discriminator: nn.Module) -> Iterator[None]:
    """Hold the discriminator in eval mode, where a pass changes none of its buffers."""
    was_training = discriminator.training
    discriminator.eval()
    try:
        yield
    finally:
        discriminator.train(was_training)


def _logits(discriminator: nn.Module, images: Tensor) -> Tensor:
    """Return D's logits with gradients for the images only, which also saves D's own backward."""
    constants = {name: weight.detach() for name, weight in discriminator.named_parameters()}
    return full_precision(functional_call(discriminator, constants, (images,)))


def _bce(logits: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
