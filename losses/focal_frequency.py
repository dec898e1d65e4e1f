"""Focal frequency loss, which looks longest at the frequencies that are worst."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from losses._functional import UnsuitableInput, image_pair
from losses._registry import register
from losses._spec import Range


@register("focal_frequency", family="frequency", side="distortion", share=(0.0, 0.7), cost="low")
class FocalFrequency(nn.Module):
    """Mean of w·|F|² over the plane, F the orthonormal spectrum of SR - HR, w = |F|^α / max |F|^α.

    The weight w in [0, 1] is a constant to the gradient, which is therefore not the value's
    derivative. `patch_factor` p cuts each side into p parts with a spectrum each; `log_matrix` makes
    it w = log(1 + |F|^α) over its maximum; `batch_matrix` takes one maximum for all spectra instead
    of one each; `ave_spectrum` compares the batch's mean images, so that errors cancel between
    samples (traiNNer-redux and neosr do, and multiply by a hidden 50: `factor`). Defaults are the
    authors'; the last two settings couple the batch.

    Images (N, C, H, W) in [0, 1], sides divisible by p; 0 for equal images. Jiang et al., "Focal
    frequency loss for image reconstruction and synthesis", ICCV 2021.
    """

    def __init__(
        self,
        alpha: Annotated[float, Range(0.0, 8.0), "α: how far bad frequencies stand out"] = 1.0,
        patch_factor: Annotated[int, Range(1, 64), "parts each side is cut into"] = 1,
        ave_spectrum: Annotated[bool, "whether the batch's mean spectra are compared"] = False,
        log_matrix: Annotated[bool, "whether weights are logarithmic"] = False,
        batch_matrix: Annotated[bool, "whether all spectra share one maximum"] = False,
        factor: Annotated[float, Range(1e-6, 1e6), "multiplies the value; neosr has 50"] = 1.0,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.patch_factor = patch_factor
        self.ave_spectrum = ave_spectrum
        self.log_matrix = log_matrix
        self.batch_matrix = batch_matrix
        self.factor = factor

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = image_pair(sr, hr)
        # All that happens before the square is linear: it can be done to the difference, once.
        error = sr - hr
        if self.ave_spectrum:
            error = error.mean(dim=0, keepdim=True)
        tiles = self._tiles(error)
        power = torch.view_as_real(torch.fft.rfft2(tiles, norm="ortho")).square().sum(dim=-1)
        weighted = (self._weight(power.detach()) * power).sum(dim=(0, 1, 2, 3, 4))
        return self.factor * (weighted * _multiplicity(tiles)).sum() / tiles.numel()

    def _tiles(self, images: Tensor) -> Tensor:
        """Return (N, C, p, p, H/p, W/p)."""
        n, c, height, width = images.shape
        p = self.patch_factor
        if height % p or width % p:
            raise UnsuitableInput(
                f"focal_frequency.patch_factor is {p}, which does not divide {height}×{width} px; lower "
                "it or train on patches it divides."
            )
        return images.reshape(n, c, p, height // p, p, width // p).transpose(3, 4)

    def _weight(self, power: Tensor) -> Tensor:
        weight = power ** (self.alpha / 2)
        if self.log_matrix:
            weight = torch.log1p(weight)
        # The half plane holds every value of the whole one, so the maximum is the same.
        most = weight.max() if self.batch_matrix else weight.amax(dim=(-2, -1), keepdim=True)
        return weight / most.clamp_min(torch.finfo(weight.dtype).tiny)


def _multiplicity(tiles: Tensor) -> Tensor:
    """Return how often each column of a half spectrum occurs in the whole one: 1 or 2."""
    width = tiles.shape[-1]
    count = torch.full((width // 2 + 1,), 2.0, dtype=tiles.dtype, device=tiles.device)
    count[0] = 1
    if width % 2 == 0:
        count[-1] = 1
    return count
