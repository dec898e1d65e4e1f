"""SqueezeNet 1.1 (Iandola et al., 2016), with its last convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from losses._features.pooling import Pool
from losses._features.tensors import State, convolution

#: Fire modules by torchvision's index; None is a pooling.
_FIRES: tuple[tuple[str, int | None], ...] = (
    ("pool1", None),
    ("fire2", 3),
    ("fire3", 4),
    ("pool3", None),
    ("fire4", 6),
    ("fire5", 7),
    ("pool5", None),
    ("fire6", 9),
    ("fire7", 10),
    ("fire8", 11),
    ("fire9", 12),
)


class _Fire(nn.Module):
    """Squeeze to few channels, expand by 1×1 and 3×3 side by side; before the last ReLU."""

    def __init__(self, state: State, key: str, inputs: int) -> None:
        super().__init__()
        self.squeeze = convolution(state, f"{key}.squeeze", inputs, 1)
        between = self.squeeze.out_channels
        self.expand1x1 = convolution(state, f"{key}.expand1x1", between, 1)
        self.expand3x3 = convolution(state, f"{key}.expand3x3", between, 3, padding=1)
        self.channels = self.expand1x1.out_channels + self.expand3x3.out_channels

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.squeeze(x))
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1)


def squeezenet_layers() -> tuple[str, ...]:
    """Return conv1, relu1, pool1, fire2_pre (before ReLU), fire2, .., conv10, relu10 in order."""
    names = ["conv1", "relu1"]
    for name, index in _FIRES:
        names += [name] if index is None else [f"{name}_pre", name]
    return (*names, "conv10", "relu10")


def squeezenet_steps(
    state: State, pooling: str, *, padded: bool, replicate: bool
) -> dict[str, nn.Module]:
    """Return the layers by name, from `features.N.squeeze`, .. and `classifier.1`.

    `padded` pads conv1 by 1, as networks converted from Caffe were run; torchvision does not.
    Without a classifier in `state` the network ends at fire9.
    """
    first = convolution(
        state, "features.0", 3, 3, stride=2, padding=int(padded), replicate=replicate
    )
    steps: dict[str, nn.Module] = {"conv1": first, "relu1": nn.ReLU()}
    channels = first.out_channels
    for name, index in _FIRES:
        if index is None:
            steps[name] = Pool(pooling, 3, ceil=True)
        else:
            fire = _Fire(state, f"features.{index}", channels)
            channels = fire.channels
            steps[f"{name}_pre"] = fire
            steps[name] = nn.ReLU()
    if "classifier.1.weight" in state:
        steps["conv10"] = convolution(state, "classifier.1", channels, 1)
        steps["relu10"] = nn.ReLU()
    return steps
