"""One optimiser step, as far as losses may ask about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from workers.data.pairs import Batch


@dataclass(frozen=True)
class Step:
    """A batch, what the generator made of it, and how far training is."""

    batch: Batch
    sr: Tensor  #: float32 (N, 3, p, p)
    number: int = 0  #: optimiser steps taken before this one
    average: nn.Module | None = None  #: running average of the generator, if one is kept

    @property
    def lr(self) -> Tensor:
        return self.batch.lr

    @property
    def hr(self) -> Tensor:
        return self.batch.hr

    def detached(self) -> Step:
        """The same step seen by a network trained beside the generator: no gradient leaves it."""
        return replace(self, sr=self.sr.detach())
