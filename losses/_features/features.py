"""What a feature network says about a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from losses._features.layers import UnknownLayer


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

    def detached(self) -> Features:
        """Return the same features cut off from SR, for what must not train the generator."""
        return Features({layer: x.detach() for layer, x in self.sr.items()}, self.hr)
