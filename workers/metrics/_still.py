"""One pair of images on its way to the metrics; what several of them need is computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

#: BT.601 studio swing: Y in 16..235 from RGB in 0..255.
_BT601 = (65.481 / 255, 128.553 / 255, 24.966 / 255)


class ImageUnusable(Exception):
    """A pair of images cannot be scored; the sentence says which and why."""


def luma(rgb: Tensor) -> Tensor:
    """Return Y of BT.601 studio swing, (..., H, W) in 16..235, of RGB (..., 3, H, W) in 0..255.

    Not rounded, as in MATLAB's rgb2ycbcr on doubles and in BasicSR.
    """
    weights = torch.tensor(_BT601, dtype=rgb.dtype, device=rgb.device)
    return torch.einsum("c,...chw->...hw", weights, rgb) + 16


@dataclass(frozen=True, eq=False)
class Still:
    """SR and HR as they would be saved: whole numbers in 0..255, RGB, float64 (3, H, W)."""

    sr: Tensor
    hr: Tensor
    scale: int
    lr: Tensor | None = None  #: what SR was made from, in the same form, where it is known
    clip: str = ""  #: the clip it is a frame of, whose next frame comes next; empty: a still

    @classmethod
    def of(
        cls,
        sr: Tensor,
        hr: Tensor,
        *,
        scale: int,
        lr: Tensor | None = None,
        clip: str = "",
        position: int = 0,
    ) -> Still:
        """Round to 8 bits; float images are in [0, 1] and clipped, uint8 ones are taken as they are.

        Raises ImageUnusable for shapes that differ or are no RGB image, values that are not finite,
        and images of which nothing is left inside the border of `scale` pixels.
        """
        where = f"image {position + 1}"
        if sr.shape != hr.shape or sr.ndim != 3 or sr.shape[0] != 3:
            shapes = f"SR {tuple(sr.shape)}, HR {tuple(hr.shape)}"
            raise ImageUnusable(f"{where}: {shapes}; both must be (3, H, W) of one size")
        if min(sr.shape[1:]) <= 2 * scale:
            raise ImageUnusable(f"{where}: nothing is left inside a border of {scale} pixels")
        if not torch.isfinite(sr).all() or not torch.isfinite(hr).all():
            raise ImageUnusable(f"{where}: holds NaN or infinity; the training has diverged")
        source = None if lr is None else _whole_numbers(lr)
        return cls(_whole_numbers(sr), _whole_numbers(hr), scale, source, clip)

    def inside(self, image: Tensor) -> Tensor:
        """Cut the border of `scale` pixels, which SR cannot know and the field does not score."""
        height, width = image.shape[-2:]
        return image[..., self.scale : height - self.scale, self.scale : width - self.scale]

    def batches(self) -> tuple[Tensor, Tensor]:
        """Return what is inside the border of SR and HR as losses take it: (1, 3, h, w) in [0, 1]."""
        return self.inside(self.sr)[None] / 255, self.inside(self.hr)[None] / 255

    @cached_property
    def sr_luma(self) -> Tensor:
        return luma(self.sr)

    @cached_property
    def hr_luma(self) -> Tensor:
        return luma(self.hr)


def _whole_numbers(image: Tensor) -> Tensor:
    exact = image.detach().to(torch.float64)
    return exact.clamp(0, 1).mul(255).round() if image.is_floating_point() else exact
