"""ResNet-18 and ResNet-50 (He et al., CVPR 2016; torchvision's v1.5), without the classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from losses._features.pooling import Pool
from losses._features.tensors import State, affine, convolution, normalised_convolution

#: Blocks per stage.
_BLOCKS: dict[str, tuple[int, ...]] = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
#: Kernel and whether it carries the block's stride, of each convolution in a block.
_PLANS: dict[str, tuple[tuple[int, bool], ...]] = {
    "resnet18": ((3, True), (3, False)),
    "resnet50": ((1, False), (3, True), (1, False)),
}


class _Affine(nn.Module):
    """BatchNorm in eval: x · scale + shift per channel."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.view(1, -1, 1, 1))
        self.register_buffer("shift", shift.view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale)


class _Block(nn.Module):
    """The sum of a residual block before its last ReLU."""

    def __init__(self, convolutions: Sequence[nn.Conv2d], shortcut: nn.Module) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.convolutions
        inner: Tensor = first(x)
        for following in others:
            inner = following(torch.relu(inner))
        summed: Tensor = inner + self.shortcut(x)
        return summed


def resnet_layers(backbone: str) -> tuple[str, ...]:
    """Return conv1, bn1 (before ReLU), relu1, pool1, layer1_0_pre, layer1_0, .., layer1, .. in order.

    `layer1_0` is torchvision's layer1[0]; `_pre` its sum before ReLU; `layer1` its last block.
    """
    names = ["conv1", "bn1", "relu1", "pool1"]
    for stage, blocks in enumerate(_BLOCKS[backbone], start=1):
        for block in range(blocks):
            names += [f"layer{stage}_{block}_pre", f"layer{stage}_{block}"]
        names.append(f"layer{stage}")
    return tuple(names)


def resnet_steps(
    backbone: str, state: State, pooling: str, *, replicate: bool
) -> dict[str, nn.Module]:
    """Return the layers by name, from torchvision's `conv1`, `bn1`, `layer1.0.conv1`, .. names."""
    first = convolution(
        state, "conv1", 3, 7, stride=2, padding=3, replicate=replicate, biased=False
    )
    channels = first.out_channels
    scale, shift = (part.to(first.weight.dtype) for part in affine(state, "bn1", channels))
    steps: dict[str, nn.Module] = {
        "conv1": first,
        "bn1": _Affine(scale, shift),
        "relu1": nn.ReLU(),
        "pool1": Pool(pooling, 3, padding=1),
    }
    for stage, blocks in enumerate(_BLOCKS[backbone], start=1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            key = f"layer{stage}.{block}"
            step, channels = _block(state, key, channels, stride, _PLANS[backbone])
            steps[f"layer{stage}_{block}_pre"] = step
            steps[f"layer{stage}_{block}"] = nn.ReLU()
        steps[f"layer{stage}"] = nn.Identity()
    return steps


def _block(
    state: State, key: str, inputs: int, stride: int, plan: Sequence[tuple[int, bool]]
) -> tuple[_Block, int]:
    """Return a residual block and the number of its output channels."""
    convolutions: list[nn.Conv2d] = []
    channels = inputs
    for index, (kernel, strided) in enumerate(plan, start=1):
        convolutions.append(
            normalised_convolution(
                state,
                f"{key}.conv{index}",
                f"{key}.bn{index}",
                channels,
                kernel,
                stride=stride if strided else 1,
            )
        )
        channels = convolutions[-1].out_channels
    shortcut: nn.Module = nn.Identity()
    if stride > 1 or channels != inputs or f"{key}.downsample.0.weight" in state:
        shortcut = normalised_convolution(
            state, f"{key}.downsample.0", f"{key}.downsample.1", inputs, 1, stride=stride
        )
    return _Block(convolutions, shortcut), channels
