"""The frozen network: named layers over images in [0, 1], stopping at the deepest one asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import torch
from torch import Tensor, nn

from losses._features.features import Features
from losses._features.layers import check_layer
from losses._features.resnet import resnet_steps
from losses._features.sources import (
    Backbone,
    FirstPadding,
    Pooling,
    Preprocessing,
    check_choice,
)
from losses._features.squeezenet import squeezenet_steps
from losses._features.tensors import State
from losses._features.vgg import vgg_steps
from losses._functional import UnsuitableInput

# Mean and deviation of R, G, B in [0, 1] as torchvision's weights expect them, and the mean of
# R, G, B in 0..255 that networks converted from Caffe expect.
_IMAGENET = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], dtype=torch.float64)
_CAFFE = (123.68, 116.779, 103.939)
_CAFFE_SQUEEZENET = (122.679, 116.669, 104.006)


class FeatureNetwork(nn.Module):
    """A frozen chain of named layers over images in [0, 1]; made by `network`.

    `layers` names them in order. VGG: `conv5_4` is the output before its ReLU, `relu5_4` after it,
    `pool5` after pooling. ResNet: `conv1`, `bn1`, `relu1`, `pool1`, `layer1_0_pre` (the sum before
    ReLU), `layer1_0`, .., `layer1` (the stage's last block), .. SqueezeNet: `conv1`, `relu1`, `pool1`,
    `fire2_pre` (before ReLU), `fire2`, .., `conv10`, `relu10`.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, steps: Mapping[str, nn.Module], mean: Tensor, deviation: Tensor, *, bgr: bool
    ) -> None:
        super().__init__()
        self.layers = tuple(steps)
        self.steps = nn.ModuleList(steps.values())
        self.bgr = bgr
        self.register_buffer("mean", mean.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", deviation.view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def extract(self, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Return the features of (N, 3, H, W) images in [0, 1] at `layers`, stopping at the deepest.

        Differentiable in the images; computed in the network's own precision (or autocast's).
        """
        wanted = set(layers)
        for layer in sorted(wanted):
            check_layer("This network", layer, self.layers)
        x = self._prepared(images)
        found: dict[str, Tensor] = {}
        for name, step in zip(self.layers, self.steps, strict=True):
            if len(found) == len(wanted):
                break
            x = step(x)
            if name in wanted:
                found[name] = x
        return found

    def compare(self, sr: Tensor, hr: Tensor, layers: Iterable[str]) -> Features:
        """Return the features of both at `layers`; no gradient is kept for HR."""
        wanted = tuple(layers)
        with torch.no_grad():
            target = self.extract(hr, wanted)
        return Features(sr=self.extract(sr, wanted), hr=target)

    def _prepared(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] != 3:
            raise UnsuitableInput(f"Features need (N, 3, H, W) images, not {tuple(images.shape)}.")
        x = images.to(self.mean.dtype)
        if self.bgr:
            x = x.flip(1)
        return (x - self.mean) / self.deviation


def network(
    backbone: str,
    state: State,
    preprocessing: str = "imagenet",
    pooling: str = "max",
    padding: str = "zero",
) -> FeatureNetwork:
    """Return the network `backbone` with the weights of `state`, frozen and in eval mode.

    `state` has torchvision's names; widths are read off the tensors. `preprocessing` belongs to the
    weights: imagenet (RGB less torchvision's mean, over its deviation; lpips is the same), range_norm
    ((x + 1) / 2 before that: BasicSR's switch, given images in [0, 1]), symmetric (2x - 1), caffe
    (BGR, 0..255, less the mean), caffe_rgb (the same in RGB), none. `pooling`: max, avg, l2 (see
    `Pool`). `padding` of the first convolution: zero, replicate. SqueezeNet pads conv1 with caffe
    only. Raises `UnsuitableWeights`; `InvalidParameter` for unknown names.
    """
    check_choice("feature network", backbone, get_args(Backbone))
    check_choice("preprocessing", preprocessing, get_args(Preprocessing))
    check_choice("pooling", pooling, get_args(Pooling))
    check_choice("padding of the first convolution", padding, get_args(FirstPadding))
    caffe = preprocessing.startswith("caffe")
    given: dict[str, Any] = {
        "state": state,
        "pooling": pooling,
        "replicate": padding == "replicate",
    }
    if backbone == "squeezenet1_1":
        steps = squeezenet_steps(padded=caffe, **given)
    elif backbone.startswith("resnet"):
        steps = resnet_steps(backbone, **given)
    else:
        steps = vgg_steps(backbone, **given)
    mean, deviation = (part.float() for part in _standard(backbone, preprocessing))
    return FeatureNetwork(steps, mean, deviation, bgr=preprocessing == "caffe")


def _standard(backbone: str, preprocessing: str) -> tuple[Tensor, Tensor]:
    """Return mean and deviation, in the order of the channels, as they apply to [0, 1]."""
    mean, deviation = _IMAGENET
    if preprocessing == "range_norm":
        return 2 * mean - 1, 2 * deviation
    if preprocessing.startswith("caffe"):
        rgb = torch.tensor(_CAFFE_SQUEEZENET if backbone == "squeezenet1_1" else _CAFFE) / 255
        return rgb.flip(0) if preprocessing == "caffe" else rgb, torch.full((3,), 1 / 255)
    if preprocessing == "symmetric":
        return torch.full((3,), 0.5), torch.full((3,), 0.5)
    if preprocessing == "none":
        return torch.zeros(3), torch.ones(3)
    return mean, deviation
