"""Pretrained networks for the losses and metrics: fetched once per machine, checked, kept as safetensors."""

from __future__ import annotations

from workers.weights.catalogue import CATALOGUE, UnknownWeights, WeightsUnavailable
from workers.weights.networks import face_network, feature_network, heads
from workers.weights.store import cached, load, path

__all__ = [
    "CATALOGUE",
    "UnknownWeights",
    "WeightsUnavailable",
    "cached",
    "face_network",
    "feature_network",
    "heads",
    "load",
    "path",
]
