"""The images losses are timed on, and what one row of the table needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import losses
from benchmarks import peers
from losses._features import FeatureNetwork, network
from workers.suppliers import placed

Value = Callable[[], Tensor]


@dataclass(frozen=True)
class Scene:
    """The images everything is computed on; SR is HR with errors, in [0, 1]."""

    sr: Tensor
    hr: Tensor
    averaged: Tensor
    weight: Tensor
    scales: int  #: of MS-SSIM: as many as fit

    @classmethod
    def on(cls, device: torch.device, batch: int, side: int) -> Scene:
        """Return images without pure noise's lack of neighbours, the same on every device."""
        draw = torch.Generator().manual_seed(0)

        def images(channels: int, grain: int) -> Tensor:
            small = torch.rand(batch, channels, side // grain, side // grain, generator=draw)
            return F.interpolate(small, (side, side), mode="bilinear")

        hr = 0.7 * images(3, 8) + 0.3 * images(3, 2)
        # Noise on top: where smooth errors are equal, the sign of an L1 would be rounding's.
        sr, averaged = (
            (hr + 0.1 * (images(3, 4) - 0.5) + 0.02 * (images(3, 1) - 0.5)).clamp(0, 1)
            for _ in range(2)
        )
        sr, hr, averaged, weight = (
            x.to(device).contiguous() for x in (sr, hr, averaged, images(1, 8))
        )
        return cls(sr.requires_grad_(), hr, averaged, weight, scales=5 if side > 160 else 3)

    def network(self, loss: Any) -> FeatureNetwork:
        """Return the frozen network of a loss, as a worker places it."""
        source = loss.source
        built = network(
            source.backbone,
            peers.state(source.backbone),
            "imagenet",
            source.pooling,
            source.padding,
        )
        return placed(built, self.sr.device)

    def ours(self, name: str, **parameters: Any) -> Value:
        """Return our loss alone; one on features makes its own passes, as if nothing else needed them."""
        heads: dict[str, Tensor] | None = parameters.pop("given_heads", None)
        loss: Any = losses.build(name, **parameters)
        given: dict[str, Any] = {} if heads is None else {"heads": heads}
        if "averaged" in losses.needs_of(loss):
            given["averaged"] = self.averaged
        if "features" not in losses.needs_of(loss):
            return lambda: loss(self.sr, self.hr, **given)
        frozen = self.network(loss)
        return lambda: loss(
            self.sr, self.hr, features=frozen.compare(self.sr, self.hr, loss.layers), **given
        )


@dataclass(frozen=True)
class Pair:
    """One row of the table: our loss and theirs, without arguments."""

    loss: str
    ours: Value
    theirs: Value
    inputs: tuple[Tensor, ...]  #: what gradients are taken of
