"""Learned weights of feature channels, as LPIPS and DISTS have them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from losses._features.tensors import UnsuitableWeights


def head(heads: Mapping[str, Tensor] | None, key: str, like: Tensor, name: str) -> Tensor:
    """Return the (C,) head `key` for (N, C, H, W) features `like`, in their type and place.

    (1, C, 1, 1) heads are flattened. `name` is what the heads are called. Raises `UnsuitableWeights`.
    """
    known = heads or {}
    if key not in known:
        raise UnsuitableWeights(f"The heads {name} lack {key}; they have {', '.join(known)}.")
    found = known[key].detach().flatten()
    if found.numel() != like.shape[1]:
        raise UnsuitableWeights(
            f"The heads {name} weigh {found.numel()} channels of {key}, but the features have "
            f"{like.shape[1]}; use the network they were learned with."
        )
    return found.to(like)
