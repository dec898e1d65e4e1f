"""Both sides of the adversarial game: ours and BasicSR's, with the very same discriminator."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import losses
from benchmarks import peers
from benchmarks.loss_scene import Pair, Scene


def basicsr(scene: Scene) -> Iterator[Pair]:
    (gan,) = peers.load("basicsr", "basicsr.losses.gan_loss")
    sr, hr = scene.sr, scene.hr
    shape: dict[str, Any] = {
        "discriminator": "image",
        "channels": 64,
        "depth": 4,
        "spectral_norm": False,
    }
    torch.manual_seed(0)
    game: Any = losses.build("adversarial", **shape)
    judge = game.build_discriminator().to(sr.device)
    for kind in ("vanilla", "lsgan", "hinge", "wgan", "relativistic"):
        loss: Any = losses.build("adversarial", kind=kind, **shape)
        theirs = gan.GANLoss("vanilla" if kind == "relativistic" else kind)
        generator = partial(generator_side, theirs, judge, sr, hr, relative=kind == "relativistic")
        yield Pair(
            f"adversarial {kind}",
            partial(loss, sr, hr, discriminator=judge),
            generator,
            (sr,),
        )
    own = tuple(judge.parameters())
    loss = losses.build("adversarial", kind="relativistic", **shape)
    criterion = gan.GANLoss("vanilla")
    yield Pair(
        "adversarial relativistic, D",
        partial(loss.discriminator_loss, sr, hr, judge),
        partial(discriminator_side, criterion, judge, sr, hr),
        own,
    )
    loss = losses.build("adversarial", kind="vanilla", r1=2.0, **shape)
    yield Pair(
        "adversarial vanilla, D, r1",
        partial(loss.discriminator_loss, sr, hr, judge),
        lambda: _vanilla_side(criterion, judge, sr, hr) + _r1(gan, judge, hr),
        own,
    )
    loss = losses.build(
        "adversarial", kind="wgan", gradient_penalty=10.0, penalty_norm="pixel", **shape
    )

    def penalised() -> Tensor:
        fake = sr.detach()
        torch.manual_seed(1)  # draws the mixtures that step 1 does
        penalty: Tensor = gan.gradient_penalty_loss(judge, hr, fake)
        verdicts: Tensor = judge(fake).mean() - judge(hr).mean()
        return verdicts + 10 * penalty

    yield Pair(
        "adversarial wgan, D, penalty",
        partial(loss.discriminator_loss, sr, hr, judge, step=1),
        penalised,
        own,
    )


def generator_side(
    criterion: Any, judge: nn.Module, sr: Tensor, hr: Tensor, *, relative: bool
) -> Tensor:
    """The generator's part of BasicSR's SRGANModel and ESRGANModel."""
    judge.requires_grad_(False)
    fake = judge(sr)
    if relative:
        real = judge(hr).detach()
        drawn = criterion(real - fake.mean(), False)
        value: Tensor = (drawn + criterion(fake - real.mean(), True)) / 2
    else:
        value = criterion(fake, True)
    judge.requires_grad_(True)
    return value


def discriminator_side(criterion: Any, judge: nn.Module, sr: Tensor, hr: Tensor) -> Tensor:
    """The discriminator's part of BasicSR's ESRGANModel: it judges SR twice."""
    of_sr = judge(sr).detach()
    real = judge(hr)
    of_real: Tensor = criterion(real - of_sr.mean(), True, is_disc=True)
    fake = judge(sr.detach())
    of_fake: Tensor = criterion(fake - real.detach().mean(), False, is_disc=True)
    return (of_real + of_fake) * 0.5


def _vanilla_side(criterion: Any, judge: nn.Module, sr: Tensor, hr: Tensor) -> Tensor:
    of_real: Tensor = criterion(judge(hr), True, is_disc=True)
    of_fake: Tensor = criterion(judge(sr.detach()), False, is_disc=True)
    return of_real + of_fake


def _r1(gan: Any, judge: nn.Module, hr: Tensor) -> Tensor:
    """BasicSR's StyleGAN2Model: a pass of its own."""
    real = hr.clone().requires_grad_()
    value: Tensor = gan.r1_penalty(judge(real), real)
    return value
