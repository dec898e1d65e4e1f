"""The catalogue of everything a study may name, read off the registries of this installation."""

from __future__ import annotations

import dataclasses
from typing import Any

import losses
from service.contract.vocabulary import LossInfo, Recipe, Vocabulary
from workers import metrics, models


def vocabulary() -> Vocabulary:
    """Return losses, models, metrics and recipes with their parameters; builds none of them."""
    return Vocabulary(
        losses={name: _loss(spec) for name, spec in losses.SPECS.items()},
        models=dict(models.SPECS),
        metrics=dict(metrics.SPECS),
        recipes={
            name: Recipe.model_validate(_plain(recipe)) for name, recipe in losses.RECIPES.items()
        },
    )


def _loss(spec: losses.LossSpec) -> LossInfo:
    plain = _plain(spec)
    return LossInfo.model_validate({field: plain[field] for field in LossInfo.model_fields})


def _plain(value: Any) -> Any:
    """The same in dicts and lists, as it will cross HTTP."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return value
