"""The linter on a study whose losses have the bugs that shipped trainers had.

`python -m benchmarks.planted_bugs` registers them, examines a study on photographs, and prints what
`srtune lint` would.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

import losses
from losses._functional import image_pair
from losses._registry import register
from service.cli.lint_tables import report
from service.cli.output import console
from service.contract.study import StudyDefinition
from workers.rehearsal import lint_study


class CutOff(nn.Module):
    """Patch statistics under no_grad: logged at every step, and without any gradient."""

    @torch.no_grad()
    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = image_pair(sr, hr)
        spreads = [torch.std(images.unfold(2, 8, 8), dim=-1) for images in (sr, hr)]
        return (spreads[0] - spreads[1]).abs().mean()


class DeadZone(nn.Module):
    """Errors below one grey level are clipped away, and their gradient with them."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = image_pair(sr, hr)
        return ((sr - hr).abs() - 1 / 255).clamp_min(0).mean()


class Summed(nn.Module):
    """A sum over pixels: its weight belongs to one patch size."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = image_pair(sr, hr)
        return (sr - hr).square().sum() / len(sr)


class Rootless(nn.Module):
    """A root without eps: NaN as soon as a patch is flat, or equal."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = image_pair(sr, hr)
        return torch.sqrt((sr - hr).square()).mean()


class Coupled(nn.Module):
    """A norm over the whole batch."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = image_pair(sr, hr)
        return ((sr - hr).square().sum() / sr[0].numel()).sqrt()


class Cancelling(nn.Module):
    """The small difference of two large matrices, which half precision rounds away."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        sr, hr = image_pair(sr, hr)
        grams = [flat @ flat.mT for flat in ((sr + 1e3).flatten(2), (hr + 1e3).flatten(2))]
        return (grams[0].float() - grams[1].float()).square().mean()


BUGS = (CutOff, DeadZone, Summed, Rootless, Coupled, Cancelling)


@contextmanager
def planted_bugs() -> Iterator[None]:
    """Register the losses above under their names in lower case, for a while."""
    before = dict(losses.SPECS)
    kind: dict[str, Any] = {"family": "planted", "side": "distortion", "cost": "low"}
    for module in BUGS:
        register(module.__name__.lower(), share=(0.0, 1.0), **kind)(module)
    try:
        yield
    finally:
        losses.SPECS.clear()
        losses.SPECS.update(before)


def study() -> StudyDefinition:
    """Four terms on photographs, three of them wrong, and an edge loss at a published weight."""
    raw = {
        "name": "planted",
        "data": {
            "train": ["package:skimage/data/astronaut.png", "package:skimage/data/coffee.png"],
            "validation": ["package:skimage/data/chelsea.png"],
            "batch": 4,
        },
        "model": {"name": "espcn"},
        "losses": [
            {"loss": "l1"},
            {"loss": "cutoff"},
            {"loss": "deadzone"},
            {"loss": "summed"},
            {"loss": "edge", "weight": 1e-6},
        ],
    }
    return StudyDefinition.model_validate(raw, strict=False)


def main() -> None:
    torch.set_num_threads(1)
    with planted_bugs():
        console().print(report(lint_study(study())))


if __name__ == "__main__":
    main()
