"""The discriminator's verdict on SR, with the loss that trains the discriminator."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from losses._discriminators import (
    ClassDiscriminators,
    FeatureDiscriminator,
    ImageDiscriminator,
    Norm,
    PatchDiscriminator,
    UNetDiscriminator,
    class_numbers,
)
from losses._features import (
    DEFAULT_LAYER,
    Backbone,
    Features,
    PreprocessingChoice,
    layers_of,
    source,
)
from losses._features.layers import check_layer
from losses._functional import UnsuitableInput, as_constant, full_precision, image_pair
from losses._games import (
    Average,
    Game,
    Halve,
    Kind,
    Smoothed,
    Targets,
    discriminator_loss,
    generator_loss,
)
from losses._penalties import PenaltyNorm, gradient_penalty, mixtures, r1_penalty
from losses._registry import register
from losses._spec import InvalidParameter, Range

Form = Literal["patch", "image", "unet", "features"]

__all__ = [
    "Adversarial",
    "Game",
    "discriminator_loss",
    "generator_loss",
    "gradient_penalty",
    "r1_penalty",
]


@register(
    "adversarial",
    family="adversarial",
    side="perception",
    share=(0.0, 0.8),
    cost="medium",
    compares=False,
    nonnegative=False,
)
class Adversarial(nn.Module):
    """How far the discriminator D is from taking SR for HR; D itself is trained on the side.

    Generator (forward) and discriminator (`discriminator_loss`), means over all logits, s = sigmoid:
    vanilla: -log s(D(SR)); -log s(D(HR)) - log(1 - s(D(SR))) (Goodfellow 2014, not saturating;
    BasicSR's wgan_softplus and KAIR's softplusgan are the same function).
    lsgan: (D(SR) - 1)²; (D(HR) - 1)² + D(SR)² (Mao 2017, whose 1/2 is halve both; BasicSR, KAIR).
    huber: lsgan's halves within 1 of the label, |·| - 1/2 beyond (neosr); l1: |·| (mmagic).
    hinge: -D(SR); max(0, 1 - D(HR)) + max(0, 1 + D(SR)) (Lim, Ye 2017).
    wgan: -D(SR); D(SR) - D(HR) (Arjovsky 2017); only with gradient_penalty 10 or a bounded slope.
    relativistic: vanilla on D(HR) - mean D(SR) and D(SR) - mean D(HR), for the generator with the
    labels exchanged (RaGAN of Jolicoeur-Martineau 2019; ESRGAN).
    relativistic_lsgan: (D(HR) - mean D(SR) - 1)² + (D(SR) - mean D(HR) + 1)², exchanged likewise.
    hinge and wgan may be negative; only the relativistic kinds let one image's value depend on others.

    halve usual: the relativistic kinds are half the sum of their two sides, as most trainers have
    them, the others are not halved; none: never (the paper of RaGAN); discriminator: D's loss only
    (CycleGAN; opensr-srgan's bce); generator: only the generator's (its RaGAN); both. average global:
    mean D(·) over the batch and all places (BasicSR, mmagic); position: over the batch at every place
    (KAIR). The generator's gradient also flows through mean D(SR); for D means are constants unless
    detach_means is false (the paper, opensr-srgan).
    targets paper: relativistic_lsgan aims at ±1, a label l meaning 2l - 1; basicsr: at 1 and 0.
    real_label and fake_label smooth the labels 1 and 0 of all but hinge and wgan, of D alone or
    (smoothed both; BasicSR's real_label_val) of the generator too.

    D's loss takes r1/2 · R1, mean_n Σ (dD/dHR)², and gradient_penalty · mean_n (‖dD/dx̂‖ - 1)² between
    HR and SR, drawn by `step`; norms per sample, or per pixel as in the peers (`penalty_norm`).

    discriminator patch, unet, image (VGG-style of SRGAN) or features: an image-level one on the
    features of a frozen network's `layer` (SRFeat, Park 2018; penalties are then on its slope there).
    classes K > 1: one discriminator per class, each sample judged by its own; the value is the sum of
    the classes' values, a class absent from the batch adding 0 (Xu et al. 2017); `labels` (N,).

    Images (N, 3, H, W) in [0, 1]. The value is not least at SR = HR. `forward` leaves D as it was: no
    gradient reaches D's parameters, spectral normalisation does not move; so measuring a gradient
    changes nothing. HR and SR pass D as one batch, but for norm batch, where each has its own
    statistics, and a value depends on the whole batch.
    """

    def __init__(
        self,
        kind: Annotated[Kind, "form of the game"] = "vanilla",
        channels: Annotated[int, Range(4, 256), "width of D's first layer"] = 32,
        depth: Annotated[int, Range(1, 6), "halvings in D; its patches grow with it"] = 3,
        spectral_norm: Annotated[bool, "bound the slope of D's inner layers"] = True,
        discriminator: Annotated[Form, "what D judges, and how it is built"] = "patch",
        norm: Annotated[Norm, "normalisation in D; batch couples the images of a batch"] = "none",
        crop: Annotated[
            int, Range(0, 4096), "side of HR crops an image-level D reads whole; 0: any size"
        ] = 0,
        classes: Annotated[int, Range(1, 1000), "one D for each of so many classes"] = 1,
        backbone: Annotated[Backbone, "frozen network of a D on features"] = "vgg16",
        weights: Annotated[str, "path of its state dict; empty: the catalogue's"] = "",
        preprocessing: Annotated[PreprocessingChoice, "input its weights expect"] = "own",
        layer: Annotated[str, "its layer; empty: as for content"] = "",
        halve: Annotated[Halve, "whose sum of two sides is halved"] = "usual",
        average: Annotated[Average, "what relativistic means run over"] = "global",
        detach_means: Annotated[bool, "relativistic means are constants for D"] = True,
        targets: Annotated[Targets, "what relativistic_lsgan aims at"] = "paper",
        real_label: Annotated[float, Range(0.5, 1.2), "label of HR; below 1 smooths"] = 1.0,
        fake_label: Annotated[float, Range(-0.2, 0.5), "label of SR; above 0 smooths"] = 0.0,
        smoothed: Annotated[Smoothed, "whose labels are smoothed"] = "discriminator",
        r1: Annotated[float, Range(0, 1e4), "γ of R1, half of which weighs it; 0: off"] = 0.0,
        gradient_penalty: Annotated[float, Range(0, 1e4), "λ of WGAN-GP; 0: off"] = 0.0,
        penalty_norm: Annotated[PenaltyNorm, "what the slope's norm runs over"] = "sample",
    ) -> None:
        super().__init__()
        self.game = Game(
            kind, halve, average, detach_means, targets, real_label, fake_label, smoothed
        )
        self.form: Form = discriminator
        self.shape: dict[str, Any] = {
            "channels": channels,
            "depth": depth,
            "spectral_norm": spectral_norm,
            "norm": norm,
        }
        self.norm: Norm = norm
        self.crop = crop
        self.classes = classes
        self.r1, self.gradient_penalty = r1, gradient_penalty
        self.penalty_norm: PenaltyNorm = penalty_norm
        if crop and discriminator != "image":
            raise InvalidParameter(
                f"adversarial.crop is {crop}, but only discriminator image reads crops whole, not "
                f"{discriminator}; leave it at 0."
            )
        if discriminator == "features":
            self.layers = (layer or DEFAULT_LAYER[backbone],)
            check_layer(f"adversarial.layer: {backbone}", self.layers[0], layers_of(backbone))
            self.backbone: Backbone = backbone
            self.source = source(backbone, weights, preprocessing)
        extra = {
            "features": discriminator == "features",
            "labels": classes > 1,
            "step": gradient_penalty > 0,
        }
        self.needs = ("discriminator", *(need for need, needed in extra.items() if needed))

    def build_discriminator(self) -> nn.Module:
        """Return a fresh discriminator; seed torch's global generator before (`fork_rng`)."""
        if self.classes > 1:
            return ClassDiscriminators(self._build_one, self.classes)
        return self._build_one()

    def forward(
        self,
        sr: Tensor,
        hr: Tensor,
        *,
        discriminator: nn.Module,
        features: Features | None = None,
        labels: Tensor | None = None,
        step: int | None = None,
    ) -> Tensor:
        sr, hr = image_pair(sr, hr)
        fake, real = self._judged(sr, hr, features)
        numbers = self._numbers(labels, len(sr))
        by = () if numbers is None else (numbers,)
        fake_logits = as_constant(discriminator, fake, *by)
        if not self.game.relativistic:
            return self.game.generator(fake_logits, labels=numbers)
        with torch.no_grad():
            real_logits = as_constant(discriminator, real, *by)
        return self.game.generator(fake_logits, real_logits, numbers)

    def discriminator_loss(
        self,
        sr: Tensor,
        hr: Tensor,
        discriminator: nn.Module,
        *,
        features: Features | None = None,
        labels: Tensor | None = None,
        step: int | None = None,
    ) -> Tensor:
        """Return the scalar D minimises; SR and its features are detached here.

        Moves what a pass in training mode moves in D. Penalties differentiate twice.
        """
        sr, hr = image_pair(sr, hr)
        fake, real = (x.detach() for x in self._judged(sr, hr, features))
        numbers = self._numbers(labels, len(sr))
        real.requires_grad_(self.r1 > 0)
        real_logits, fake_logits = self._both(discriminator, real, fake, numbers)
        value = self.game.discriminator(fake_logits, real_logits, numbers)
        if self.r1 > 0:
            value = value + self.r1 / 2 * r1_penalty(real_logits, real, norm=self.penalty_norm)
        if self.gradient_penalty > 0:
            value = value + self.gradient_penalty * gradient_penalty(
                lambda between: _logits(discriminator, between, numbers),
                real.detach(),
                fake,
                alpha=mixtures(step, real),
                norm=self.penalty_norm,
            )
        return value

    @torch.no_grad()
    def verdicts(
        self, sr: Tensor, hr: Tensor, discriminator: nn.Module, **needs: Any
    ) -> tuple[Tensor, Tensor]:
        """Return D's logits of HR and of SR, without gradient and leaving D as it was, for curves."""
        fake, real = self._judged(sr, hr, needs.get("features"))
        numbers = self._numbers(needs.get("labels"), len(sr))
        by = () if numbers is None else (numbers,)
        return as_constant(discriminator, real, *by), as_constant(discriminator, fake, *by)

    def _build_one(self) -> nn.Module:
        if self.form == "patch":
            return PatchDiscriminator(**self.shape)
        if self.form == "unet":
            return UNetDiscriminator(**self.shape)
        if self.form == "image":
            return ImageDiscriminator(**self.shape, crop=self.crop)
        return FeatureDiscriminator(self.backbone, self.layers[0], **self.shape)

    def _judged(self, sr: Tensor, hr: Tensor, features: Features | None) -> tuple[Tensor, Tensor]:
        """Return what D looks at of SR and of HR: the images, or their features."""
        if self.form != "features":
            return full_precision(sr), full_precision(hr)
        if features is None:
            raise UnsuitableInput(
                f"A discriminator on features needs those of {self.layers[0]}; hand over features."
            )
        fake, real = features.pair(self.layers[0])
        return full_precision(fake), full_precision(real)

    def _numbers(self, labels: Tensor | None, images: int) -> Tensor | None:
        return class_numbers(labels, images, self.classes) if self.classes > 1 else None

    def _both(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor, labels: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        # R1's slope would be taken of the SR half, too, to find zeros.
        if self.norm == "batch" or self.r1 > 0:
            return _logits(discriminator, real, labels), _logits(discriminator, fake, labels)
        twice = None if labels is None else labels.repeat(2)
        together = _logits(discriminator, torch.cat([real, fake]), twice)
        return together[: len(real)], together[len(real) :]


def _logits(discriminator: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
    by = () if labels is None else (labels,)
    return full_precision(discriminator(images, *by))
