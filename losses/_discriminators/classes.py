"""One discriminator for each class of images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from losses._functional import UnsuitableInput


class ClassDiscriminators(nn.Module):
    """Logits of each image by the discriminator of its class, in the order of the batch.

    Xu, Sun, Pan et al., "Learning to super-resolve blurry face and text images", ICCV 2017. `labels`
    (N,) are the classes; keep them on the CPU, where reading them costs nothing. Discriminators
    of classes that are not in the batch are not passed: they get no gradient and do not move.
    """

    def __init__(self, build: Callable[[], nn.Module], classes: int) -> None:
        super().__init__()
        self.judges = nn.ModuleList(build() for _ in range(classes))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        numbers = class_numbers(labels, len(images), len(self.judges)).tolist()
        order: list[int] = []
        verdicts: list[Tensor] = []
        for number, judge in enumerate(self.judges):
            rows = [row for row, label in enumerate(numbers) if label == number]
            if rows:
                verdicts.append(judge(images[rows]))
                order += rows
        back = sorted(range(len(order)), key=order.__getitem__)
        return torch.cat(verdicts)[back]


def class_numbers(labels: Tensor | None, images: int, classes: int) -> Tensor:
    """Return labels (N,) as whole numbers on the CPU, or raise `UnsuitableInput`."""
    if labels is None:
        raise UnsuitableInput(
            f"A discriminator for each of {classes} classes needs labels, one per image; hand them over."
        )
    if labels.shape != (images,) or labels.is_floating_point() or labels.is_complex():
        raise UnsuitableInput(
            f"Labels are {labels.dtype} of shape {tuple(labels.shape)}, but must be whole numbers of shape "
            f"{(images,)}, one per image."
        )
    numbers = labels.detach().to("cpu", torch.long)
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high >= classes:
        raise UnsuitableInput(
            f"Labels reach from {low} to {high}, but {classes} classes are numbered 0 to {classes - 1}; "
            "raise adversarial.classes or correct the labels."
        )
    return numbers
