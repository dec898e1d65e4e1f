"""What became of a trial, as the sampler is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: What the sampler sees: `rest.<term>` in [0, 1] or `weight.<term>`, and `use.<term>` on or off.
Coordinates = dict[str, float | str]
State = Literal["running", "complete", "pruned", "failed"]


@dataclass(frozen=True)
class Observation:
    """What became of one trial.

    Queued trials are `running` too: the sampler then keeps away from them. `values` are the
    objectives of a complete trial, in the study's order; `clock` is when it ended, by the study's
    clock. Without coordinates (weights outside of the searched ranges) the sampler learns nothing;
    `importance` can still use the shares.
    """

    number: int
    coordinates: Coordinates | None
    state: State
    values: list[float] | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    clock: int = 0


class ContradictoryObservation(ValueError):
    """A finished trial is said to have ended in another way."""
