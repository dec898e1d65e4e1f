"""Pretrained networks for the losses and metrics: fetched once per machine, checked, kept as safetensors."""

from __future__ import annotations

from workers.weights.catalogue import CATALOGUE, WeightsUnavailable
from workers.weights.store import feature_network, load, path

__all__ = ["CATALOGUE", "WeightsUnavailable", "feature_network", "load", "path"]
