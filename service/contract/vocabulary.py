"""The words a study may use: losses, models, metrics, recipes, each with its parameters.

The service does not know torch; whoever starts it hands it this catalogue (see `workers.vocabulary`).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Side = Literal["distortion", "perception"]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Parameter(_Entry):
    """One constructor argument of a loss, model or metric."""

    name: str
    type: Literal["int", "float", "bool", "str", "list", "mapping"]
    default: Any = None
    required: bool = False
    low: float | None = Field(default=None, description="Least accepted number.")
    high: float | None = Field(default=None, description="Greatest accepted number.")
    choices: list[str] = Field(default_factory=list, description="Accepted names; empty: any.")
    description: str = ""


class LossInfo(_Entry):
    """A loss term a study can use."""

    name: str
    family: str = Field(description="pixel, content, texture, adversarial, tv, edge, ...")
    summary: str = Field(description="What it measures, with its convention and paper.")
    side: Side = Field(description="Which side of the distortion-perception trade-off it pulls to.")
    share: tuple[float, float] = Field(description="Default search range of its gradient share.")
    needs: list[str] = Field(default_factory=list, description="What the trainer must supply.")
    may_need: list[str] = Field(
        default_factory=list, description="What it must supply with some parameters."
    )
    cost: str = Field(default="low", description="low, medium or high: time per step.")
    parameters: list[Parameter] = Field(default_factory=list)
    presets: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="What each `preset` fills in where you leave the default."
    )


class ModelInfo(_Entry):
    """An architecture a study can train."""

    name: str
    summary: str
    scales: list[int]
    parameters: list[Parameter] = Field(default_factory=list)


class MetricInfo(_Entry):
    """A score of SR images against HR images."""

    name: str
    summary: str = Field(description="Definition: channel, range, border, paper.")
    direction: Literal["maximize", "minimize"]
    side: Side
    unit: str = ""
    cost: str = "low"
    needs: list[str] = Field(
        default_factory=list,
        description="What it cannot do without: scale (at least 2), weights (published), clips.",
    )


class RecipeTerm(_Entry):
    """One published weight with the convention it belongs to."""

    loss: str = Field(description="Name in the loss registry.")
    weight: float = Field(ge=0, description="Of our loss: the published weight times `factor`.")
    parameters: dict[str, Any] = Field(default_factory=dict)
    original: str = Field(default="", description="The convention in the authors' own words.")
    factor: float = Field(default=1.0, description="Our weight / theirs, where conventions differ.")
    note: str = Field(
        default="", description="What of the original this term lacks; empty: nothing."
    )


class Recipe(_Entry):
    """Published loss weights; worth nothing without their conventions, so both are here."""

    name: str
    summary: str
    source: str = Field(description="Paper and configuration file the weights come from.")
    terms: list[RecipeTerm]
    notes: list[str] = Field(
        default_factory=list,
        description="What besides the losses made the published result: data, networks, averages.",
    )


class Vocabulary(_Entry):
    """Everything a study definition may name."""

    losses: dict[str, LossInfo] = Field(default_factory=dict)
    models: dict[str, ModelInfo] = Field(default_factory=dict)
    metrics: dict[str, MetricInfo] = Field(default_factory=dict)
    recipes: dict[str, Recipe] = Field(default_factory=dict)
