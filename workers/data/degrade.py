"""How a low-resolution image comes from a high-resolution one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def bicubic(hr: Tensor, scale: int) -> Tensor:
    """Return `hr` at 1/scale of its size, bicubic with antialiasing.

    Keys' cubic (a = -0.5) stretched by `scale`, which is MATLAB's imresize and Pillow's BICUBIC;
    at the border the kernel is cut and renormalised (MATLAB mirrors: only the outermost 2 pixels
    differ). hr (..., C, H, W), sides multiples of scale. A uint8 image comes back as uint8, rounded
    and clipped, as if it had been saved; a float image comes back unrounded, with gradient.
    """
    height, width = hr.shape[-2:]
    if height % scale or width % scale:
        raise ValueError(
            f"an image of {width}×{height} does not divide by scale {scale}; use mod_crop first"
        )
    return _resize(hr, (height // scale, width // scale))


def enlarge(lr: Tensor, scale: int) -> Tensor:
    """Return `lr` at `scale` times its size, bicubic: what SR has to beat. Same types as bicubic."""
    height, width = lr.shape[-2:]
    return _resize(lr, (height * scale, width * scale))


def mod_crop(pixels: Tensor, scale: int) -> Tensor:
    """Return (..., H, W) without the last rows and columns that do not fill a step of `scale`."""
    height, width = pixels.shape[-2:]
    return pixels[..., : height - height % scale, : width - width % scale]


def _resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    batch = image.reshape(-1, *image.shape[-3:])
    whole = not image.is_floating_point()
    resized = F.interpolate(
        batch.float() if whole else batch,
        size=size,
        mode="bicubic",
        antialias=True,
        align_corners=False,
    )
    resized = resized.reshape(*image.shape[:-2], *size)
    return resized.round_().clamp_(0, 255).to(torch.uint8) if whole else resized
