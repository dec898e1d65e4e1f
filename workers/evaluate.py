"""Scores of a generator over whole validation images, and what it makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from service.contract.study import StudyDefinition
from workers import metrics
from workers.data.degrade import enlarge
from workers.trainer import Diverged

if TYPE_CHECKING:
    from workers.data.pairs import Whole

#: LR pixels a side up to which an image is done in one piece.
TILE = 512
#: LR pixels of context around a tile: more than any receptive field of ours sees with weight.
MARGIN = 32


class Sample(NamedTuple):
    """One validation image in the four versions that people compare; float (3, h, w) in [0, 1]."""

    name: str
    lr: Tensor
    bicubic: Tensor
    sr: Tensor
    hr: Tensor


@torch.no_grad()
def super_resolve(
    generator: nn.Module, lr: Tensor, *, scale: int, tile: int = TILE, margin: int = MARGIN
) -> Tensor:
    """Return the SR image (3, h·scale, w·scale) in [0, 1] of an LR image (3, h, w) in [0, 1].

    Images larger than `tile` are done in tiles of that side that see `margin` pixels beyond it, so
    that memory does not grow with the photograph; the seams are exact where the margin covers the
    receptive field.
    """
    height, width = lr.shape[-2:]
    sr = lr.new_empty(3, height * scale, width * scale)
    for rows in _spans(height, tile):
        for columns in _spans(width, tile):
            top, left = max(rows.start - margin, 0), max(columns.start - margin, 0)
            seen = lr[:, top : rows.stop + margin, left : columns.stop + margin]
            made = generator(seen[None])[0].float().clamp(0, 1)
            inner = made[
                :,
                (rows.start - top) * scale : (rows.stop - top) * scale,
                (columns.start - left) * scale : (columns.stop - left) * scale,
            ]
            sr[
                :,
                rows.start * scale : rows.stop * scale,
                columns.start * scale : columns.stop * scale,
            ] = inner
    return sr


def score(
    generator: nn.Module, images: Sequence[Whole], names: Sequence[str], *, scale: int
) -> dict[str, float]:
    """Return the mean over images of each metric of `names`; float32 whatever training used.

    Raises Diverged for a score that is not finite: such a generator has no place in a ranking.
    """
    pairs = [(super_resolve(generator, image.lr, scale=scale), image.hr) for image in images]
    for image, (sr, _) in zip(images, pairs, strict=True):
        if not torch.isfinite(sr).all():
            raise Diverged(f"the generator makes NaN or infinite pixels of {image.name}")
    means = {
        name: math.fsum(values) / len(values)
        for name, values in metrics.score(names, pairs, scale=scale).items()
    }
    for name, mean in means.items():
        if not math.isfinite(mean):
            raise Diverged(f"{name} over {len(pairs)} validation images is {mean}")
    return means


def metric_names(definition: StudyDefinition, *, final: bool) -> list[str]:
    """Return what to score: everything at the end, at rungs the objectives and what costs little."""
    names = list(dict.fromkeys([*definition.objectives, *definition.metrics]))
    return [
        name
        for name in names
        if final or name in definition.objectives or metrics.SPECS[name].cost == "low"
    ]


def samples(
    generator: nn.Module, images: Sequence[Whole], *, scale: int, side: int = 192
) -> Iterator[Sample]:
    """Yield the middle of each image, at most `side` HR pixels a side, in four versions."""
    for image in images:
        lr = _middle(image.lr, side // scale)
        hr = _middle(image.hr, side // scale, scale)
        sr = super_resolve(generator, image.lr, scale=scale)
        yield Sample(
            name=image.name,
            lr=lr.cpu(),
            bicubic=_middle(enlarge(image.lr, scale).clamp(0, 1), side // scale, scale).cpu(),
            sr=_middle(sr, side // scale, scale).cpu(),
            hr=(hr.float() / 255).cpu(),
        )


def _middle(image: Tensor, side: int, scale: int = 1) -> Tensor:
    """The central `side`×`side` LR pixels, of an image of `scale` times that size."""
    height, width = (size // scale for size in image.shape[-2:])
    top, left = max(height - side, 0) // 2 * scale, max(width - side, 0) // 2 * scale
    return image[:, top : top + side * scale, left : left + side * scale]


def _spans(size: int, tile: int) -> list[slice]:
    return [slice(start, min(start + tile, size)) for start in range(0, size, tile)]
