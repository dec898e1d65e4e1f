"""Video quality as Netflix's VMAF judges it, without its reward for enhancement."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from losses._functional import UnsuitableInput, image_pair
from losses._registry import register
from losses._vmaf import Model
from losses._vmaf.detail import detail
from losses._vmaf.fidelity import fidelity
from losses._vmaf.movement import movement
from losses._windows import require_side

#: Y in 16..235 from RGB in 0..1.
_LUMA = {
    "bt601": (65.481, 128.553, 24.966),
    "bt709": (0.2126 * 219, 0.7152 * 219, 0.0722 * 219),
}


@register(
    "vmaf_neg",
    family="quality",
    side="distortion",
    share=(0.0, 0.5),
    cost="high",
    nonnegative=False,
)
class VmafNeg(nn.Module):
    """1 - NEG/100, NEG the score of VMAF v0.6.1 that credits no enhancement, mean over the batch.

    NEG fuses visual information fidelity at four scales, detail loss (DLM) and the reference's motion
    by a support vector machine (libvmaf's model vmaf_v0.6.1neg, parts in floating point: within 0.1
    of the metric on natural images of 33 px or more). Not clipped, so that there is a gradient
    everywhere: strange images reach below 0 and above 1. Plain VMAF is no loss: its score jumps, and
    rewards contrast without end; NEG can be gained from too when nothing binds it, so add a pixel
    loss (Li, "Toward a better quality metric for the video community", Netflix 2020).

    Images (N, 3, H, W) in [0, 1], or (N, 1, H, W) of luma code values / 255, sides from 16 px; SR is
    clamped to [0, 1], as it would be saved. `previous` and `following` are the HR frames around HR, if
    there are any, and give its motion; without them it is 0, and equal images are worth 0.0257.
    Li et al., "Toward a practical perceptual video quality metric", Netflix 2016.
    """

    def __init__(
        self,
        luma: Annotated[
            Literal["bt601", "bt709"], "matrix of luma, studio swing; the metric's is bt601"
        ] = "bt601",
    ) -> None:
        super().__init__()
        self.weights = _LUMA[luma]
        self.model = Model.named("vmaf_v0.6.1neg")

    def forward(
        self,
        sr: Tensor,
        hr: Tensor,
        *,
        previous: Tensor | None = None,
        following: Tensor | None = None,
    ) -> Tensor:
        return 1 - self.scores(sr, hr, previous=previous, following=following).mean() / 100

    def scores(
        self,
        sr: Tensor,
        hr: Tensor,
        *,
        previous: Tensor | None = None,
        following: Tensor | None = None,
    ) -> Tensor:
        """Return NEG (N,) of each image, about 0..100 and not clipped, differentiable in SR."""
        sr, hr = image_pair(sr, hr)
        require_side(sr, 16, "train on larger patches")
        with torch.autocast(sr.device.type, enabled=False):
            dis, ref = self._centred(sr.clamp(0, 1)), self._centred(hr)
            around = [
                None if frame is None else self._centred(image_pair(frame, hr)[0])
                for frame in (previous, following)
            ]
            parts = [detail(dis, ref)[:, None], movement(ref, *around)[:, None], fidelity(dis, ref)]
            # Few numbers, but their kernels' sum cancels: float64 costs nothing here.
            return self.model.raw(torch.cat(parts, dim=1).double()).to(sr.dtype)

    def _centred(self, images: Tensor) -> Tensor:
        """Luma in code values less 128, which costs the squares below fewer digits."""
        if images.shape[1] == 1:
            return images * 255 - 128
        if images.shape[1] != 3:
            raise UnsuitableInput(
                f"VMAF needs 3 channels (RGB) or 1 (luma), not {images.shape[1]}."
            )
        red, green, blue = self.weights
        luma = red * images[:, 0:1] + green * images[:, 1:2] + blue * images[:, 2:3]
        return luma - 112
