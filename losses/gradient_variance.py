"""Distance of the variance of image gradients, patch by patch."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses._functional import UnsuitableInput, image_pair, sobel
from losses._registry import register
from losses._spec import Range

# The weights of MATLAB's rgb2gray, rounded as the authors' code has them: not quite BT.601's.
_GREY = (0.2989, 0.5870, 0.1140)


@register("gradient_variance", family="edge", side="perception", share=(0.0, 0.3), cost="low")
class GradientVariance(nn.Module):
    """Distance of the variances of Sobel gradients in p×p patches, of x plus of y: blur shrinks them.

    v = unbiased variance of the grey image's gradient in each patch (kernels [1 2 1]ᵀ[1 0 -1], zero
    padding; a remainder at the right and bottom is left out). criterion l2: mean (Δv)² (the paper's
    code); l1: mean |Δv|; charbonnier: mean √(Δv² + 1e-12) (traiNNer-redux, there with p = 16), whose
    floor for equal images is 2e-6.

    Images (N, 3, H, W) in [0, 1], at least p×p; 0 for equal images, and for others with the same
    sharpness. Abrahamyan et al., "Gradient variance loss for structure-enhanced image
    super-resolution", ICASSP 2022.
    """

    def __init__(
        self,
        patch: Annotated[int, Range(2, 256), "p: side of the patches in pixels"] = 8,
        criterion: Annotated[
            Literal["l2", "l1", "charbonnier"], "distance of the variances"
        ] = "l2",
    ) -> None:
        super().__init__()
        self.patch = patch
        self.criterion = criterion

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = image_pair(sr, hr)
        if min(sr.shape[-2:]) < self.patch or sr.shape[1] != 3:
            raise UnsuitableInput(
                f"gradient_variance needs SR of 3 channels and at least {self.patch}×{self.patch} px, not "
                f"{tuple(sr.shape[1:])}; lower gradient_variance.patch or train on larger patches."
            )
        ours, theirs = self._variances(sr), self._variances(hr)
        if self.criterion == "l2":
            return 2 * F.mse_loss(ours, theirs)
        if self.criterion == "l1":
            return 2 * F.l1_loss(ours, theirs)
        return 2 * torch.sqrt((ours - theirs).square() + 1e-12).mean()

    def _variances(self, images: Tensor) -> Tensor:
        """Return (2, N, H/p, W/p), of x and of y."""
        red, green, blue = images.unbind(dim=1)
        grey = _GREY[0] * red + _GREY[1] * green + _GREY[2] * blue
        gradients = sobel(grey.unsqueeze(1), scale=1.0, padding="zero").squeeze(2)
        p = self.patch
        rows, columns = gradients.shape[-2] // p, gradients.shape[-1] // p
        whole = gradients[..., : rows * p, : columns * p]
        return whole.reshape(2, -1, rows, p, columns, p).var(dim=(3, 5))
