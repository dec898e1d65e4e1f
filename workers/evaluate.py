"""Scores of a generator over whole validation images, and what it makes of them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from service.contract.study import StudyDefinition
from workers import metrics
from workers.data.degrade import enlarge
from workers.scoring.table import pooled
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


@dataclass(frozen=True)
class Table:
    """Scores of validation images, one row each, in their order."""

    images: Sequence[Whole]
    columns: Mapping[str, Sequence[float]]  #: by metric

    @property
    def means(self) -> dict[str, float]:
        """Mean of each metric over the images: what trials are ranked by."""
        return {name: math.fsum(values) / len(values) for name, values in self.columns.items()}

    def csv(self) -> bytes:
        """Return rows of image, clip, motion and scores, and under them their pooled values.

        `motion` is "true" for frames of a clip and "0" for stills, whose VMAF is no score of video.
        """
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(["image", "clip", "motion", *self.columns])
        for index, image in enumerate(self.images):
            scores = [f"{values[index]:.6f}" for values in self.columns.values()]
            lines.writerow([image.name, image.clip, "true" if image.clip else "0", *scores])
        pools = [pooled(values) for values in self.columns.values()]
        for name in ("mean", "min", "max", "harmonic_mean"):
            shown = [pool[name] for pool in pools]
            numbers = ["" if value is None else f"{value:.6f}" for value in shown]
            lines.writerow([f"({name})", "", "", *numbers])
        return text.getvalue().encode()


def score(
    generator: nn.Module, images: Sequence[Whole], names: Sequence[str], *, scale: int
) -> Table:
    """Return each metric of `names` of each image; float32 whatever training used.

    Frames of a clip that follow one another are scored with their motion. Raises Diverged for a mean
    that is not finite: such a generator has no place in a ranking.
    """
    pairs = [(super_resolve(generator, image.lr, scale=scale), image.hr) for image in images]
    for image, (sr, _) in zip(images, pairs, strict=True):
        if not torch.isfinite(sr).all():
            raise Diverged(f"the generator makes NaN or infinite pixels of {image.name}")
    sources, clips = [image.lr for image in images], [image.clip for image in images]
    table = Table(images, metrics.score(names, pairs, scale=scale, lrs=sources, clips=clips))
    for name, mean in table.means.items():
        if not math.isfinite(mean):
            raise Diverged(f"{name} over {len(pairs)} validation images is {mean}")
    return table


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
