"""Whether SR, shrunk again, is the LR image it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from service.contract.vocabulary import MetricInfo
from workers.data.degrade import bicubic
from workers.metrics._registry import register_each
from workers.metrics._still import ImageUnusable

if TYPE_CHECKING:
    from torch import Tensor

    from workers.metrics._still import Still


@register_each(
    MetricInfo(
        name="lr_consistency",
        summary="Mean |shrunk SR - LR| in 8-bit code values over pixels and RGB; SR is shrunk by the scale "
        "with antialiased bicubic (Pillow's, and MATLAB's imresize but for the edges) and rounded to "
        "8 bits, whole image. LR is what SR was made from, or where that is not given HR shrunk in the "
        "same way. 0: consistent. Of LR with blur, noise or JPEG, 0 is not the aim.",
        direction="minimize",
        side="distortion",
        unit="code values",
        needs=["scale"],
    )
)
def lr_consistency(still: Still) -> float:
    """How far SR contradicts its input, in code values.

    The `lr_consistency` loss with its default criterion, of images as saved: HR itself scores 0. NTIRE's
    LR-PSNR of 45 dB (learning the SR space, 2021) is a root mean square of 1.4.
    """
    height, width = still.sr.shape[-2:]
    if still.scale < 2 or height % still.scale or width % still.scale:
        raise ImageUnusable(
            f"lr_consistency needs sides that the scale divides, and scale 2 or more; got {width}×{height} "
            f"at scale {still.scale}"
        )
    shrunk = _shrunk(still.sr, still.scale)
    lr = _shrunk(still.hr, still.scale) if still.lr is None else still.lr
    if lr.shape != shrunk.shape:
        raise ImageUnusable(
            f"lr_consistency: LR is {tuple(lr.shape)}, SR shrunk by {still.scale} is {tuple(shrunk.shape)}"
        )
    return float((shrunk - lr).abs().mean().item())


def _shrunk(image: Tensor, scale: int) -> Tensor:
    """The same arithmetic as made the LR of training and validation, bit for bit."""
    whole = image.round().clamp(0, 255).to(torch.uint8)  # RGB out of a video has fractions
    return bicubic(whole, scale).to(image.dtype)
