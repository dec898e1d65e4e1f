"""What VMAF's exact score and its differentiable loss share: the models and their fusion."""

from __future__ import annotations

from losses._vmaf.model import FEATURES, MODELS, Model, UnknownModel

__all__ = ["FEATURES", "MODELS", "Model", "UnknownModel"]
