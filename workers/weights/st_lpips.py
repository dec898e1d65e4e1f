"""The published file of ST-LPIPS under the names of torchvision's VGG16 and of its heads' layers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from losses.lpips import LAYERS

#: Its slices of the network, and in each the positions of convolutions: a blur after every pooling
#: counts as a layer there.
_SLICES = ((0, 2), (6, 8), (12, 14, 16), (20, 22, 24), (28, 30, 32))


def read_st_lpips(file: Path) -> dict[str, Tensor]:
    """Return `features.N.weight`, `features.N.bias` and `heads.relu1_2`, .. of the published state dict.

    Its blur filters are left out: they are constants. Raises KeyError or RuntimeError for other files.
    """
    state = torch.load(file, map_location="cpu", weights_only=True)
    found: dict[str, Tensor] = {}
    for blurs, positions in enumerate(_SLICES):
        for position in positions:
            for part in ("weight", "bias"):
                theirs = state[f"net.slice{blurs + 1}.{position}.{part}"]
                found[f"features.{position - blurs}.{part}"] = theirs.float().contiguous()
    for index, layer in enumerate(LAYERS["vgg16"]):
        found[f"heads.{layer}"] = state[f"lin{index}.model.1.weight"].float().flatten()
    return found
