"""VGG16 and VGG19 (Simonyan, Zisserman, ICLR 2015), without BatchNorm and classifier."""

from __future__ import annotations

from torch import nn

from losses._features.pooling import Pool
from losses._features.tensors import State, convolution

#: Convolutions per block; a block ends with a pooling.
_BLOCKS: dict[str, tuple[int, ...]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


def vgg_layers(backbone: str) -> tuple[str, ...]:
    """Return conv1_1, relu1_1, .., pool1, .. in order; the position is torchvision's index."""
    names: list[str] = []
    for block, convolutions in enumerate(_BLOCKS[backbone], start=1):
        for index in range(1, convolutions + 1):
            names += [f"conv{block}_{index}", f"relu{block}_{index}"]
        names.append(f"pool{block}")
    return tuple(names)


def vgg_steps(
    backbone: str, state: State, pooling: str, *, replicate: bool
) -> dict[str, nn.Module]:
    """Return the layers by name, from `features.N.weight` and `features.N.bias`."""
    steps: dict[str, nn.Module] = {}
    channels = 3
    for index, name in enumerate(vgg_layers(backbone)):
        if name.startswith("conv"):
            step = convolution(
                state,
                f"features.{index}",
                channels,
                3,
                padding=1,
                replicate=replicate and index == 0,
            )
            channels = step.out_channels
            steps[name] = step
        elif name.startswith("relu"):
            # Not in place: that would overwrite the output of the convolution a loss may ask for.
            steps[name] = nn.ReLU()
        else:
            steps[name] = Pool(pooling, 2)
    return steps
