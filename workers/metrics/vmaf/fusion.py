"""VMAF out of its parts: Netflix's models on per-frame features, and means over frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from losses._vmaf import FEATURES, Model

#: The column of each model in every table of scores.
COLUMNS = {
    "vmaf_v0.6.1": "vmaf",
    "vmaf_v0.6.1neg": "vmaf_neg",
    "vmaf_4k_v0.6.1": "vmaf_4k",
    "vmaf_4k_v0.6.1neg": "vmaf_4k_neg",
}


def column(feature: str, limit: float) -> str:
    """Return the column of a feature at a gain limit; motion knows no gain."""
    return f"{feature}_neg" if limit == 1 and feature != "motion2" else feature


def limits(models: Sequence[Model]) -> list[float]:
    """Return the gain limits these models need the features at, greatest first."""
    return sorted({model.gain_limit for model in models}, reverse=True)


def fused(features: Mapping[str, Tensor], model: Model) -> Tensor:
    """Return `model`'s scores (N,) in 0..100 of features by name, each (N,), at the model's limit."""
    return model.score(torch.stack([features[name] for name in FEATURES], dim=-1))


def pooled(values: Sequence[float]) -> dict[str, float]:
    """Return mean, min, max and harmonic mean (of values + 1, less 1) over frames, as libvmaf has them."""
    count = len(values)
    return {
        "mean": sum(values) / count,
        "min": min(values),
        "max": max(values),
        "harmonic_mean": count / sum(1 / (value + 1) for value in values) - 1,
    }
