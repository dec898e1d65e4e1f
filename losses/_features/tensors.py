"""Reading convolutions and batch normalisations out of a state dict; widths are read off the tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from losses._functional import full_precision

State = Mapping[str, Tensor]

#: What torchvision's BatchNorm adds to the variance.
_EPS = 1e-5


class UnsuitableWeights(ValueError):
    """A state dict does not hold the tensors of the network it was given for."""


def convolution(
    state: State,
    key: str,
    inputs: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    replicate: bool = False,
    biased: bool = True,
) -> nn.Conv2d:
    """Return the convolution `key` of a state dict, for `inputs` channels; raises `UnsuitableWeights`."""
    weight = _weight(state, key, inputs, kernel)
    bias = tensor(state, f"{key}.bias", (weight.shape[0],)) if biased else None
    return _built(weight, bias, stride=stride, padding=padding, replicate=replicate)


def normalised_convolution(
    state: State, key: str, norm: str, inputs: int, kernel: int, *, stride: int = 1
) -> nn.Conv2d:
    """Return the convolution `key` with the BatchNorm `norm` after it, in eval, as one convolution.

    Folded in float64: apart from rounding the same function, and a third of the memory traffic.
    """
    weight = _weight(state, key, inputs, kernel)
    scale, shift = affine(state, norm, weight.shape[0])
    folded = (weight.double() * scale.view(-1, 1, 1, 1)).to(weight.dtype)
    return _built(folded, shift.to(weight.dtype), stride=stride, padding=kernel // 2)


def affine(state: State, key: str, channels: int) -> tuple[Tensor, Tensor]:
    """Return scale and shift, float64, that BatchNorm `key` in eval applies to each channel."""
    names = ("weight", "bias", "running_mean", "running_var")
    weight, bias, mean, variance = (
        tensor(state, f"{key}.{name}", (channels,)).double() for name in names
    )
    scale = weight / torch.sqrt(variance + _EPS)
    return scale, bias - mean * scale


def tensor(state: State, key: str, shape: tuple[int | None, ...]) -> Tensor:
    """Return the tensor `key`, at least float32; None in `shape` accepts any size."""
    if key not in state:
        raise UnsuitableWeights(f"The weights lack {key!r}, which this network needs.")
    found = state[key]
    fits = found.ndim == len(shape) and all(
        wanted in (None, size) for size, wanted in zip(found.shape, shape, strict=True)
    )
    if not fits or found.numel() == 0 or not found.is_floating_point():
        said = ", ".join("any" if size is None else str(size) for size in shape)
        raise UnsuitableWeights(
            f"The weights' {key!r} is {found.dtype} {tuple(found.shape)}, but this network needs "
            f"floating point ({said})."
        )
    return full_precision(found)


def _weight(state: State, key: str, inputs: int, kernel: int) -> Tensor:
    return tensor(state, f"{key}.weight", (None, inputs, kernel, kernel))


def _built(
    weight: Tensor, bias: Tensor | None, *, stride: int, padding: int, replicate: bool = False
) -> nn.Conv2d:
    outputs, inputs, kernel, _ = weight.shape
    # On the meta device nothing is initialised, so that no random numbers are used up either.
    built = nn.Conv2d(
        inputs,
        outputs,
        kernel,
        stride=stride,
        padding=padding,
        padding_mode="replicate" if replicate else "zeros",
        bias=bias is not None,
        device="meta",
    )
    tensors = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    built.load_state_dict(tensors, assign=True)
    return built
