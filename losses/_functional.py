"""The arithmetic several losses share: input check, precision, distances, image gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

Criterion = Literal["l1", "l2", "frobenius", "survey"]
Padding = Literal["zero", "replicate"]
Reduction = Literal["mean", "sum"]

#: BT.601 luma of R, G, B.
LUMA = (0.299, 0.587, 0.114)

#: HR beyond this is no image in [0, 1]; sharpening and resampling overshoot by less.
_HR_RANGE = (-0.5, 1.5)
#: SR is whatever a network makes, but beyond this its images were in 0..255.
_SR_RANGE = (-16.0, 16.0)

_values_are_read: ContextVar[bool] = ContextVar("_values_are_read", default=True)


class UnsuitableInput(ValueError):
    """The tensors handed to a loss are not a pair of image batches in [0, 1]."""


@contextmanager
def trusted() -> Iterator[None]:
    """Do not look at the values of images within: shapes and types are checked, ranges and NaN not.

    For a training loop, which checks its data once and its losses' values now and then: reading a
    value makes a GPU wait at every step.
    """
    token = _values_are_read.set(False)
    try:
        yield
    finally:
        _values_are_read.reset(token)


def image_pair(sr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
    """Return both image batches in at least float32, or raise `UnsuitableInput`.

    Shapes, types and devices must agree; HR must lie in [0, 1] (a little beyond is let pass) and SR
    not in 0..255; neither may hold NaN or infinity. Values are not looked at within `trusted`.
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
    if _values_are_read.get():
        _check_values(sr, hr)
    return full_precision(sr), full_precision(hr)


@torch.no_grad()
def _check_values(sr: Tensor, hr: Tensor) -> None:
    ends = torch.stack([*torch.aminmax(sr), *torch.aminmax(hr)]).tolist()
    for name, low, high, allowed in (("SR", *ends[:2], _SR_RANGE), ("HR", *ends[2:], _HR_RANGE)):
        if not (low > -torch.inf and high < torch.inf):
            raise UnsuitableInput(
                f"{name} holds NaN or infinite pixels; look for the step that made them."
            )
        if low < allowed[0] or high > allowed[1]:
            raise UnsuitableInput(
                f"{name} reaches from {low:.4g} to {high:.4g}, but images are in [0, 1]; divide 0..255 by "
                "255, and map [-1, 1] by (x + 1) / 2."
            )


def full_precision(x: Tensor) -> Tensor:
    """Return float32 for the half types, whose sums lose digits or overflow; others unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def as_constant(network: nn.Module, *inputs: Tensor) -> Tensor:
    """Return what a trained network says of `inputs`, in at least float32, and leave it as it was.

    Gradients reach the inputs only, which also saves the network's own backward; in eval mode for
    the call, spectral normalisation does not move. Measuring a gradient therefore changes nothing.
    """
    was_training = network.training
    constants = {name: weight.detach() for name, weight in network.named_parameters()}
    network.eval()
    try:
        return full_precision(functional_call(network, constants, inputs))
    finally:
        network.train(was_training)


def reduce(
    errors: Tensor,
    reduction: Reduction,
    weight: Tensor | None = None,
    *,
    sample_wise: bool = False,
) -> Tensor:
    """Return the scalar mean or sum of (N, C, H, W) errors.

    With a weight map (N, 1, H, W) or (N, C, H, W), at least 0: Σ w·e, divided for the mean by Σ w over
    all channels, not by the number of pixels (BasicSR); a map of zeros gives 0. sample_wise: each
    sample is divided by its own Σ w, and the mean taken of the samples (mmagic).
    """
    if weight is None:
        return errors.mean() if reduction == "mean" else errors.sum()
    n, c, height, width = errors.shape
    if weight.shape not in ((n, 1, height, width), (n, c, height, width)):
        raise UnsuitableInput(
            f"The weight map is {tuple(weight.shape)}, but must be {(n, 1, height, width)} or "
            f"{(n, c, height, width)}."
        )
    if weight.shape[1] == 1:
        # One weight for all channels: their sum first is a third of the products.
        errors = errors.sum(dim=1, keepdim=True)
    if reduction == "sum":
        return (errors * weight).sum()
    over = (1, 2, 3) if sample_wise else (0, 1, 2, 3)
    whole = weight.sum(dim=over) * (c // weight.shape[1])
    total = (errors * weight).sum(dim=over)
    return (total / whole.clamp_min(torch.finfo(errors.dtype).tiny)).mean()


def distance(a: Tensor, b: Tensor, criterion: Criterion) -> Tensor:
    """Return how far apart (N, ...) `a` and `b` are, a scalar.

    l1: mean |a - b|. l2: mean (a - b)², no 1/2. frobenius: √Σ(a - b)² over everything, the batch
    included (BasicSR's `fro`). survey: the Euclidean norm of each sample's difference divided by its
    number of elements, mean over N; falls as 1/√elements, so it is not the l2 of anything (Wang,
    Chen, Hoi 2020, content and texture loss).
    """
    if criterion == "l1":
        return F.l1_loss(a, b)
    if criterion == "l2":
        return F.mse_loss(a, b)
    if criterion == "frobenius":
        whole: Tensor = torch.linalg.vector_norm(a - b)
        return whole
    difference = (a - b).flatten(1)
    norms: Tensor = torch.linalg.vector_norm(difference, dim=1)
    return norms.mean() / difference.shape[1]


def unit_mean(features: Tensor) -> Tensor:
    """Divide each sample of (N, C, H, W) features, all at least 0, by its mean (EnhanceNet)."""
    mean = features.mean(dim=(1, 2, 3), keepdim=True)
    # A black crop can silence every feature; without a floor it would divide by zero.
    return features / mean.clamp_min(torch.finfo(features.dtype).eps)


def unit_norm(features: Tensor) -> Tensor:
    """Divide (N, C, H, W) features by their Euclidean norm over C at each place, plus 1e-10 (LPIPS)."""
    # Where all channels are 0, the norm's gradient is 0, and a ReLU before stops the division's.
    norm: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / (norm + 1e-10)


def luma(images: Tensor) -> Tensor:
    """Return BT.601 luma (N, 1, H, W), full range, of (N, 3, H, W) RGB."""
    if images.shape[1] != 3:
        raise UnsuitableInput(f"Luma needs 3 channels (RGB), not {images.shape[1]}.")
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def differences(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return forward differences along x (N, C, H, W-1) and along y (N, C, H-1, W)."""
    # torch's stubs leave `apply` without types.
    along_x, along_y = _Differences.apply(images)  # type: ignore[no-untyped-call]
    return along_x, along_y


class _Differences(torch.autograd.Function):
    """Forward differences, with a backward pass into one tensor.

    Autograd's own makes a whole image of zeros for each of the four slices, and adds them up.
    """

    @staticmethod
    def forward(ctx: object, images: Tensor) -> tuple[Tensor, Tensor]:
        return (
            images[..., :, 1:] - images[..., :, :-1],
            images[..., 1:, :] - images[..., :-1, :],
        )

    @staticmethod
    def backward(ctx: object, *slopes: Tensor) -> Tensor:
        along_x, along_y = slopes
        total = F.pad(along_x, (1, 0))
        total[..., :, :-1] -= along_x
        total[..., 1:, :] += along_y
        total[..., :-1, :] -= along_y
        return total


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
