"""The arithmetic several losses share: input check, precision, distances, image gradients."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Criterion = Literal["l1", "l2", "survey"]
Padding = Literal["zero", "replicate"]

#: BT.601 luma of R, G, B.
LUMA = (0.299, 0.587, 0.114)


class UnsuitableInput(ValueError):
    """The tensors handed to a loss are not a pair of image batches."""


def image_pair(sr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
    """Return both image batches in at least float32, or raise `UnsuitableInput`.

    Looks at shapes, types and devices only: reading a value would make a GPU wait at every step.
    """
    if sr.ndim != 4 or sr.shape != hr.shape or sr.numel() == 0:
        raise UnsuitableInput(
            f"SR {tuple(sr.shape)} and HR {tuple(hr.shape)} must both be the same (N, C, H, W), not empty."
        )
    if not (sr.is_floating_point() and hr.is_floating_point()):
        raise UnsuitableInput(
            f"SR is {sr.dtype} and HR is {hr.dtype}, but both must be floating point in [0, 1]; divide uint8 by 255."
        )
    if sr.device != hr.device:
        raise UnsuitableInput(f"SR is on {sr.device} and HR on {hr.device}; move one of them.")
    return full_precision(sr), full_precision(hr)


def full_precision(x: Tensor) -> Tensor:
    """Return float32 for the half types, whose sums lose digits or overflow; others unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def distance(a: Tensor, b: Tensor, criterion: Criterion) -> Tensor:
    """Return how far apart (N, ...) `a` and `b` are, a scalar.

    l1: mean |a - b|. l2: mean (a - b)², no 1/2. survey: the Euclidean norm of each sample's
    difference divided by its number of elements, mean over N; falls as 1/√elements, so it is not
    the l2 of anything (Wang, Chen, Hoi 2020, content and texture loss).
    """
    if criterion == "l1":
        return F.l1_loss(a, b)
    if criterion == "l2":
        return F.mse_loss(a, b)
    difference = (a - b).flatten(1)
    norms: Tensor = torch.linalg.vector_norm(difference, dim=1)
    return norms.mean() / difference.shape[1]


def unit_mean(features: Tensor) -> Tensor:
    """Divide each sample of (N, C, H, W) features, all at least 0, by its mean (EnhanceNet)."""
    mean = features.mean(dim=(1, 2, 3), keepdim=True)
    # A black crop can silence every feature; without a floor it would divide by zero.
    return features / mean.clamp_min(torch.finfo(features.dtype).eps)


def luma(images: Tensor) -> Tensor:
    """Return BT.601 luma (N, 1, H, W), full range, of (N, 3, H, W) RGB."""
    if images.shape[1] != 3:
        raise UnsuitableInput(f"Luma needs 3 channels (RGB), not {images.shape[1]}.")
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def differences(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return forward differences along x (N, C, H, W-1) and along y (N, C, H-1, W)."""
    return images[..., :, 1:] - images[..., :, :-1], images[..., 1:, :] - images[..., :-1, :]


def sobel(images: Tensor, *, scale: float, padding: Padding) -> Tensor:
    """Return both Sobel derivatives, (2, N, C, H, W), of kernels [1 2 1]ᵀ[1 0 -1] times `scale`.

    Sums of slices instead of a convolution: exact under autocast, and no kernel to move about.
    """
    mode = "constant" if padding == "zero" else "replicate"
    padded = F.pad(images, (1, 1, 1, 1), mode=mode) * scale
    along_x = padded[..., :, :-2] - padded[..., :, 2:]
    along_y = padded[..., :-2, :] - padded[..., 2:, :]
    return torch.stack(
        [
            along_x[..., :-2, :] + 2 * along_x[..., 1:-1, :] + along_x[..., 2:, :],
            along_y[..., :, :-2] + 2 * along_y[..., :, 1:-1] + along_y[..., :, 2:],
        ]
    )
