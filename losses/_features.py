"""Frozen feature networks: VGG16, VGG19 and SqueezeNet 1.1, built from a plain state dict.

Keys are torchvision's (`features.N.weight`); widths are read off the tensors, so that a narrow
network of the same layout works too. Simonyan, Zisserman, "Very deep convolutional networks",
ICLR 2015; Iandola et al., "SqueezeNet", 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from losses._functional import UnsuitableInput
from losses._spec import InvalidParameter, nearest

Backbone = Literal["vgg16", "vgg19", "squeezenet1_1"]
Preprocessing = Literal["imagenet", "caffe", "none"]


class FeatureSource(NamedTuple):
    """Which frozen network features come from; losses with equal sources share one pass of it."""

    backbone: str
    weights: str = ""  #: a state dict's path on the worker; empty: the catalogue's of the backbone
    preprocessing: str = (
        "own"  #: own: what the catalogue's weights expect; imagenet, caffe, none, ...
    )
    pooling: str = "max"  #: max, or l2 (DISTS)


#: Convolutions per block; a block ends with a max pooling.
_VGG: dict[str, tuple[int, ...]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}

#: The layer a loss reads when the user names none: early enough to be cheap, late enough for texture.
DEFAULT_LAYER: dict[str, str] = {"vgg16": "relu2_2", "vgg19": "relu2_2", "squeezenet1_1": "fire3"}

# Mean and deviation of R, G, B in [0, 1] as torchvision's weights expect them, and the mean of
# B, G, R in 0..255 that networks converted from Caffe expect.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CAFFE: dict[str, tuple[float, float, float]] = {
    "vgg16": (103.939, 116.779, 123.68),
    "vgg19": (103.939, 116.779, 123.68),
    "squeezenet1_1": (104.006, 116.669, 122.679),
}


class UnknownLayer(InvalidParameter):
    """The feature network has no layer of this name."""


class UnsuitableWeights(ValueError):
    """A state dict does not hold the tensors of the network it was given for."""


@dataclass(frozen=True)
class Features:
    """What a feature network says about a batch: layer name to (N, C, H, W), for SR and for HR."""

    sr: Mapping[str, Tensor]
    hr: Mapping[str, Tensor]

    def pair(self, layer: str) -> tuple[Tensor, Tensor]:
        """Return SR's and HR's features of `layer`, or raise `UnknownLayer`."""
        if layer not in self.sr or layer not in self.hr:
            raise UnknownLayer(f"Features lack {layer}; extracted were {', '.join(self.sr)}.")
        return self.sr[layer], self.hr[layer]


class FeatureNetwork(nn.Module):
    """A frozen chain of named layers over images in [0, 1]; made by `network`.

    `layers` names them in order: `conv5_4` is the output before its ReLU, `relu5_4` after it, `pool5`
    after pooling; SqueezeNet has `relu1`, `pool1`, `fire2`.. `fire9` (after ReLU), `conv10`, `relu10`.
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
        for layer in wanted.difference(self.layers):
            raise UnknownLayer(_no_layer("This network", layer, self.layers))
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


class _Fire(nn.Module):
    """SqueezeNet's block: squeeze to few channels, expand by 1×1 and 3×3 side by side."""

    def __init__(self, squeeze: nn.Conv2d, expand1x1: nn.Conv2d, expand3x3: nn.Conv2d) -> None:
        super().__init__()
        self.squeeze = squeeze
        self.expand1x1 = expand1x1
        self.expand3x3 = expand3x3

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.squeeze(x))
        return torch.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


def network(
    name: Backbone, state: Mapping[str, Tensor], preprocessing: Preprocessing = "imagenet"
) -> FeatureNetwork:
    """Return the network `name` with the weights of `state`, frozen and in eval mode.

    `preprocessing` belongs to the weights: imagenet (RGB, mean and deviation of torchvision), caffe
    (BGR, 0..255, mean only), none (images as they are). Raises `UnsuitableWeights`.
    """
    if name not in get_args(Backbone):
        raise InvalidParameter(
            f"No feature network {name!r}; known are {', '.join(get_args(Backbone))}."
            f"{nearest(name, get_args(Backbone))}"
        )
    steps = _squeezenet_steps(state) if name == "squeezenet1_1" else _vgg_steps(_VGG[name], state)
    if preprocessing == "caffe":
        mean, deviation = torch.tensor(_CAFFE[name]) / 255, torch.full((3,), 1 / 255)
    elif preprocessing == "imagenet":
        mean, deviation = torch.tensor(_IMAGENET[0]), torch.tensor(_IMAGENET[1])
    else:
        mean, deviation = torch.zeros(3), torch.ones(3)
    return FeatureNetwork(steps, mean, deviation, bgr=preprocessing == "caffe")


def layers_of(backbone: Backbone) -> tuple[str, ...]:
    """Return the names of a backbone's layers in order, without building it."""
    if backbone == "squeezenet1_1":
        return tuple(_SQUEEZENET)
    return tuple(name for name, _ in _vgg_plan(_VGG[backbone]))


def layer_weights(
    loss: str, backbone: Backbone, layers: Mapping[str, float] | Sequence[str]
) -> dict[str, float]:
    """Return layer names with their weights; a list weighs each 1, an empty one is the default layer.

    Raises `UnknownLayer` for names `backbone` does not have, `InvalidParameter` for weights that are
    negative or all zero. Layers of weight zero are left out.
    """
    given = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    given = given or {DEFAULT_LAYER[backbone]: 1.0}
    known = layers_of(backbone)
    for layer, weight in given.items():
        if layer not in known:
            raise UnknownLayer(_no_layer(f"{loss}.layers: {backbone}", layer, known))
        if weight < 0:
            raise InvalidParameter(f"{loss}.layers.{layer} is {weight:g}, but must be at least 0.")
    kept = {layer: float(weight) for layer, weight in given.items() if weight > 0}
    if not kept:
        raise InvalidParameter(f"{loss}.layers has only zeros; give one layer a weight.")
    return kept


def _no_layer(owner: str, layer: str, known: Sequence[str]) -> str:
    return f"{owner} has no layer {layer!r}; it has {', '.join(known)}.{nearest(layer, known)}"


def _vgg_plan(blocks: Sequence[int]) -> list[tuple[str, int]]:
    """Return (layer name, torchvision's index) of each step: convolutions, ReLUs and poolings."""
    names: list[str] = []
    for block, convolutions in enumerate(blocks, start=1):
        for index in range(1, convolutions + 1):
            names += [f"conv{block}_{index}", f"relu{block}_{index}"]
        names.append(f"pool{block}")
    return [(name, index) for index, name in enumerate(names)]


def _vgg_steps(blocks: Sequence[int], state: Mapping[str, Tensor]) -> dict[str, nn.Module]:
    steps: dict[str, nn.Module] = {}
    for name, index in _vgg_plan(blocks):
        if name.startswith("conv"):
            steps[name] = _convolution(state, f"features.{index}", padding=1)
        elif name.startswith("relu"):
            # Not in place: that would overwrite the output of the convolution a loss may ask for.
            steps[name] = nn.ReLU()
        else:
            steps[name] = nn.MaxPool2d(2, 2)
    return steps


def _pooling(_: Mapping[str, Tensor]) -> nn.Module:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def _activation(_: Mapping[str, Tensor]) -> nn.Module:
    return nn.ReLU()


def _fire(index: int) -> Callable[[Mapping[str, Tensor]], nn.Module]:
    def build(state: Mapping[str, Tensor]) -> nn.Module:
        key = f"features.{index}"
        return _Fire(
            _convolution(state, f"{key}.squeeze"),
            _convolution(state, f"{key}.expand1x1"),
            _convolution(state, f"{key}.expand3x3", padding=1),
        )

    return build


# conv1 is padded by 1 as in the Caffe original; torchvision does not pad it.
_SQUEEZENET: dict[str, Callable[[Mapping[str, Tensor]], nn.Module]] = {
    "conv1": lambda state: _convolution(state, "features.0", stride=2, padding=1),
    "relu1": _activation,
    "pool1": _pooling,
    "fire2": _fire(3),
    "fire3": _fire(4),
    "pool3": _pooling,
    "fire4": _fire(6),
    "fire5": _fire(7),
    "pool5": _pooling,
    "fire6": _fire(9),
    "fire7": _fire(10),
    "fire8": _fire(11),
    "fire9": _fire(12),
    "conv10": lambda state: _convolution(state, "classifier.1"),
    "relu10": _activation,
}


def _squeezenet_steps(state: Mapping[str, Tensor]) -> dict[str, nn.Module]:
    return {name: build(state) for name, build in _SQUEEZENET.items()}


def _convolution(
    state: Mapping[str, Tensor], key: str, *, stride: int = 1, padding: int = 0
) -> nn.Conv2d:
    try:
        weight, bias = state[f"{key}.weight"], state[f"{key}.bias"]
    except KeyError as error:
        raise UnsuitableWeights(f"The weights lack {error}, which this network needs.") from error
    outputs, inputs, height, width = weight.shape
    # On the meta device nothing is initialised, so that no random numbers are used up either.
    convolution = nn.Conv2d(
        inputs, outputs, (height, width), stride=stride, padding=padding, device="meta"
    )
    convolution.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    return convolution
