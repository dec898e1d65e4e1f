"""Measures how losses grow with the patch: what 256 pixels a side give, over the mean of their 64 parts.

    python -m benchmarks.patch_growth docs/pictures/losses/growth.json

A weight tuned on small patches is another weight on large ones unless both ratios are near 1. The total
gradient is Σ |∂L/∂SR|. On one photograph and its bicubic ×4 version; about twenty seconds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import losses
from benchmarks.gradient_scene import SUPPLIERS, Scene

LARGE, SMALL = 256, 32

#: Conventions side by side; the same loss twice where peers differ.
ROWS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("l1", {}),
    ("l2", {}),
    ("charbonnier", {}),
    ("edge", {}),
    ("ssim", {}),
    ("texture", {}),
    ("tv", {}),
    ("tv", {"form": "anisotropic"}),
    ("fft", {}),
    ("focal_frequency", {}),
    ("wavelet", {}),
    ("content", {}),
    ("content", {"criterion": "survey"}),
    ("content", {"criterion": "frobenius"}),
    ("fft", {"norm": "backward"}),
    ("tv", {"form": "norm"}),
    ("l1", {"reduction": "sum"}),
    ("tv", {"form": "anisotropic", "reduction": "plane_sum"}),
    ("texture", {"normalization": "survey"}),
    ("texture", {"normalization": "none", "criterion": "l2"}),
)


def main() -> None:
    torch.set_num_threads(1)
    large, small = Scene(side=LARGE), Scene(side=LARGE)
    small.sr, small.hr = (_parts(x.detach()) for x in (large.sr, large.hr))
    small.sr.requires_grad_()
    found = []
    for name, parameters in ROWS:
        sizes = [_size(scene, name, parameters) for scene in (large, small)]
        value, gradient = (float(f"{a / b:.2g}") for a, b in zip(*sizes, strict=True))
        found.append({"loss": name, "parameters": parameters, "value": value, "gradient": gradient})
        print(name, parameters, value, gradient)
    Path(sys.argv[1]).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _parts(images: Tensor) -> Tensor:
    """Return the parts (64, 3, 32, 32) of an image (1, 3, 256, 256)."""
    rows = images.unfold(2, SMALL, SMALL).unfold(3, SMALL, SMALL)
    return rows.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, SMALL, SMALL)


def _size(scene: Scene, name: str, parameters: dict[str, Any]) -> tuple[float, float]:
    """Return value and total gradient of a loss, means over the images one by one."""
    loss: Any = losses.build(name, **parameters)
    value, gradient = 0.0, 0.0
    whole, target = scene.sr, scene.hr
    for sr, hr in zip(whole.detach()[:, None], target[:, None], strict=True):
        scene.sr, scene.hr = sr.requires_grad_(), hr
        given = {need: SUPPLIERS[need](scene, loss) for need in losses.needs_of(loss)}
        one = loss(scene.sr, scene.hr, **given)
        value += float(one.detach()) / len(whole)
        gradient += float(torch.autograd.grad(one, scene.sr)[0].abs().sum()) / len(whole)
    scene.sr, scene.hr = whole, target
    return value, gradient


if __name__ == "__main__":
    main()
