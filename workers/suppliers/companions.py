"""Networks that losses have trained beside the generator: discriminators, shrinkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from losses import TRAINED, needs_of
from workers.suppliers.networks import seeded


def trained_need(needs: Sequence[str]) -> str | None:
    """Return which of a loss's needs is a network trained beside the generator, if any is."""
    return next((need for need in needs if need in TRAINED), None)


def companions(losses: Mapping[str, nn.Module], seed: int) -> dict[str, nn.Module]:
    """Return a fresh network for every loss that has one trained beside it, by the term's key.

    Initial weights depend on the seed and the order of these terms alone.
    """
    built: dict[str, nn.Module] = {}
    for key, loss in losses.items():
        need = trained_need(needs_of(loss))
        if need is not None:
            build: Any = getattr(loss, f"build_{need}")
            built[key] = seeded(build, seed + 1 + len(built))
    return built
