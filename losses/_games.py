"""The adversarial game on logits: what generator and discriminator minimise, in every convention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from losses._functional import UnsuitableInput, full_precision
from losses._spec import InvalidParameter

Kind = Literal[
    "vanilla", "lsgan", "huber", "l1", "hinge", "wgan", "relativistic", "relativistic_lsgan"
]
Halve = Literal["usual", "none", "generator", "discriminator", "both"]
Average = Literal["global", "position"]
Targets = Literal["paper", "basicsr"]
Smoothed = Literal["discriminator", "both"]

_RELATIVISTIC = ("relativistic", "relativistic_lsgan")
_WITHOUT_LABELS = ("hinge", "wgan")


@dataclass(frozen=True)
class Game:
    """The rules of one adversarial game; `losses.adversarial` says what each of them means.

    Logits are (N, 1) or (N, 1, h, w), those of SR called fake, those of HR real, of equal shapes.
    `labels` (N,) are classes: the value is the sum over the classes present of the value of their
    logits alone, so that every class counts alike (Xu et al., ICCV 2017).
    """

    kind: Kind = "vanilla"
    halve: Halve = "usual"
    average: Average = "global"
    detach_means: bool = True
    targets: Targets = "paper"
    real_label: float = 1.0
    fake_label: float = 0.0
    smoothed: Smoothed = "discriminator"

    def __post_init__(self) -> None:
        if self.kind in _WITHOUT_LABELS and (self.real_label, self.fake_label) != (1.0, 0.0):
            raise InvalidParameter(
                f"The {self.kind} game compares no logit with a label, so that it cannot be smoothed; "
                "leave real_label at 1 and fake_label at 0, or take vanilla or lsgan."
            )

    @property
    def relativistic(self) -> bool:
        """Whether logits count relative to the mean of the other side, so that both are needed."""
        return self.kind in _RELATIVISTIC

    def generator(
        self, fake: Tensor, real: Tensor | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Return the scalar the generator minimises; `real`, taken as constant, if relativistic."""
        if not self.relativistic:
            return _over_classes(self._generator, fake, fake, labels)
        if real is None:
            raise UnsuitableInput(
                f"The {self.kind} game needs the logits of HR, too; hand over real."
            )
        return _over_classes(self._generator, fake, real.detach(), labels)

    def discriminator(self, fake: Tensor, real: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the scalar the discriminator minimises, without penalties."""
        return _over_classes(self._discriminator, fake, real, labels)

    def _generator(self, fake: Tensor, real: Tensor) -> Tensor:
        half = 0.5 if self._halved("both", "generator") else 1.0
        if self.kind in _WITHOUT_LABELS:
            return -fake.mean() * half
        high, low = self._labels(smooth=self.smoothed == "both")
        if not self.relativistic:
            return self._score(fake, high) * half
        # The gradient also flows through mean(fake).
        drawn = self._score(real - self._mean(fake), low)
        return (drawn + self._score(fake - self._mean(real), high)) * half

    def _discriminator(self, fake: Tensor, real: Tensor) -> Tensor:
        half = 0.5 if self._halved("both", "discriminator") else 1.0
        if self.kind == "wgan":
            return (fake.mean() - real.mean()) * half
        if self.kind == "hinge":
            return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) * half
        high, low = self._labels(smooth=True)
        if self.relativistic:
            mean_real, mean_fake = self._mean(real), self._mean(fake)
            if self.detach_means:
                mean_real, mean_fake = mean_real.detach(), mean_fake.detach()
            real, fake = real - mean_fake, fake - mean_real
        return (self._score(real, high) + self._score(fake, low)) * half

    def _halved(self, *sides: Halve) -> bool:
        return self.halve in sides or (self.halve == "usual" and self.relativistic)

    def _labels(self, *, smooth: bool) -> tuple[float, float]:
        high, low = (self.real_label, self.fake_label) if smooth else (1.0, 0.0)
        if self.kind == "relativistic_lsgan" and self.targets == "paper":
            return 2 * high - 1, 2 * low - 1
        return high, low

    def _mean(self, logits: Tensor) -> Tensor:
        return logits.mean() if self.average == "global" else logits.mean(dim=0, keepdim=True)

    def _score(self, logits: Tensor, label: float) -> Tensor:
        if self.kind in ("lsgan", "relativistic_lsgan"):
            return (logits - label).square().mean()
        if self.kind == "l1":
            return (logits - label).abs().mean()
        wanted = torch.full_like(logits, label)
        if self.kind == "huber":
            return F.huber_loss(logits, wanted)
        return F.binary_cross_entropy_with_logits(logits, wanted)


def generator_loss(
    kind: Kind,
    fake: Tensor,
    real: Tensor | None = None,
    *,
    labels: Tensor | None = None,
    **conventions: Any,
) -> Tensor:
    """Return what the generator minimises, from D's logits alone, a scalar.

    `fake` are the logits of SR, `real` of HR (relativistic kinds only; constant). `conventions` are
    those of `adversarial`: halve, average, targets, real_label, fake_label, smoothed. With `labels`
    (N,) the values of the classes are summed.
    """
    return Game(kind, **conventions).generator(fake, real, labels)


def discriminator_loss(
    kind: Kind,
    fake: Tensor,
    real: Tensor,
    *,
    labels: Tensor | None = None,
    **conventions: Any,
) -> Tensor:
    """Return what the discriminator minimises, from its logits of SR and of HR alone, a scalar.

    Conventions as in `generator_loss`, and detach_means; without r1_penalty and gradient_penalty.
    """
    return Game(kind, **conventions).discriminator(fake, real, labels)


def _over_classes(
    value: Callable[[Tensor, Tensor], Tensor], fake: Tensor, real: Tensor, labels: Tensor | None
) -> Tensor:
    """Return the value of all logits, or the sum of the values of each class's own."""
    if fake.shape != real.shape or fake.numel() == 0:
        raise UnsuitableInput(
            f"Logits of SR {tuple(fake.shape)} and of HR {tuple(real.shape)} must be of one shape, not empty."
        )
    fake, real = full_precision(fake), full_precision(real)
    if labels is None:
        return value(fake, real)
    rows = [
        (labels == label).nonzero()[:, 0].to(fake.device) for label in sorted(set(labels.tolist()))
    ]
    return torch.stack([value(fake[chosen], real[chosen]) for chosen in rows]).sum()
