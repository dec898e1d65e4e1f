"""What the losses of a recipe are held against: images, thin networks, a discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

VECTORS = Path(__file__).parents[1] / "vectors" / "losses"

#: The layers DISTS reads of VGG16, by their index in torchvision's `features`.
STAGES = {"relu1_2": 3, "relu2_2": 8, "relu3_3": 15, "relu4_3": 22, "relu5_3": 29}

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Scene:
    """Images, a discriminator and feature weights; all that an original needs."""

    sr: Tensor
    hr: Tensor
    ema: Tensor
    d: nn.Module
    vgg19: State
    vgg16: State
    heads: Mapping[str, Tensor]


def scene() -> Scene:
    """Photographs of 64 px in double precision, and thin networks."""
    with np.load(VECTORS / "images64.npz") as images:
        sr, hr = (torch.from_numpy(images[key].astype(np.float64)) for key in ("sr", "hr"))
    with np.load(VECTORS / "vgg19_narrow.npz") as stored:
        vgg19 = {key: torch.from_numpy(stored[key]).double() for key in stored}
    generator = torch.Generator().manual_seed(3)
    ema = hr + 0.7 * (sr - hr).roll(1, -1)
    d = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(6, 1, 3, 2))
    for parameter in d.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    vgg16 = _vgg16(generator)
    return Scene(sr.requires_grad_(), hr, ema, d.double(), vgg19, vgg16, _heads(vgg16, generator))


def _heads(vgg16: State, generator: torch.Generator) -> dict[str, Tensor]:
    """α and β of DISTS, as if learned, for the stages of this VGG16."""
    widths = {"image": 3}
    for layer, index in STAGES.items():
        widths[layer] = len(vgg16[f"features.{index - 1}.bias"])
    return {
        f"{kind}.{layer}": torch.rand(width, generator=generator, dtype=torch.float64)
        for kind in ("alpha", "beta")
        for layer, width in widths.items()
    }


def _vgg16(generator: torch.Generator) -> State:
    state: dict[str, Tensor] = {}
    inputs = 3
    for index in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):
        outputs = 4 if index < 5 else 8
        shape = (outputs, inputs, 3, 3)
        weight = (
            torch.randn(shape, generator=generator, dtype=torch.float64) * (2 / (9 * inputs)) ** 0.5
        )
        state |= {
            f"features.{index}.weight": weight,
            f"features.{index}.bias": torch.full((outputs,), 0.05, dtype=torch.float64),
        }
        inputs = outputs
    return state
