"""Routes of the words a study may use."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.context import ServiceDep, needs
from service.contract.vocabulary import LossInfo, MetricInfo, ModelInfo, Recipe, Vocabulary
from service.tokens import Scope

router = APIRouter(tags=["vocabulary"], dependencies=[needs(Scope.READ)])


@router.get("/vocabulary", summary="Everything a definition may name")
def vocabulary(service: ServiceDep) -> Vocabulary:
    """Losses, models, metrics and recipes, by name."""
    return service.vocabulary


@router.get("/losses", summary="Loss terms")
def losses(service: ServiceDep) -> list[LossInfo]:
    """With parameters, conventions and default share ranges."""
    return list(service.vocabulary.losses.values())


@router.get("/models", summary="Architectures")
def models(service: ServiceDep) -> list[ModelInfo]:
    """With scales and parameters."""
    return list(service.vocabulary.models.values())


@router.get("/metrics-catalog", summary="Scores")
def metrics(service: ServiceDep) -> list[MetricInfo]:
    """With definition and direction."""
    return list(service.vocabulary.metrics.values())


@router.get("/recipes", summary="Published loss weights")
def recipes(service: ServiceDep) -> list[Recipe]:
    """With their sources and conventions."""
    return list(service.vocabulary.recipes.values())
