"""What a study is: the definition its author writes, in YAML or JSON.

Strict on purpose: unknown fields are errors, numbers are not strings. `contract.checking` turns
whatever is wrong into sentences, all at once.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+-]{0,63}$")]
TermName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
#: What counts, seeds and steps stay below: the databases' whole numbers end there.
_COUNTS = 2**31


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Data(_Part):
    """Photographs, and how pairs are made from them."""

    train: list[str] = Field(
        min_length=1,
        description="HR photos or clips to train on: folders (searched recursively), files, or "
        "`package:skimage/data/coffee.png` for what an installed Python package carries. "
        "Paths are those of the workers.",
        examples=[["/data/DIV2K_train_HR"]],
    )
    validation: list[str] = Field(
        min_length=1,
        description="HR photos or clips to score on, apart from `train`; same forms. Clips are "
        "scored with their motion.",
    )
    classes: dict[Name, Annotated[list[str], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="Kinds of photos, for losses that treat each kind apart (`adversarial` with "
        "`classes`): name to photos of `train`, same forms; every photo in one of them.",
        examples=[{"face": ["/data/faces"], "text": ["/data/text"]}],
    )
    scale: Literal[2, 3, 4] = Field(default=2, description="Upscaling factor.")
    degradation: Literal["bicubic"] = Field(
        default="bicubic",
        description="How LR is made from HR: bicubic with antialiasing (MATLAB's imresize).",
    )
    patch: int = Field(
        default=96,
        ge=16,
        le=512,
        description="Side of the HR training crop, pixels; a multiple of scale.",
    )
    batch: int = Field(default=16, ge=1, le=256, description="Crops per step.")
    clip_frames: int = Field(
        default=32, ge=1, le=100_000, description="Frames taken of each clip, from its start."
    )
    augment: bool = Field(default=True, description="Random flips and quarter turns of the crops.")

    @model_validator(mode="after")
    def _patch_fits_scale(self) -> Data:
        if self.patch % self.scale:
            down = self.patch - self.patch % self.scale
            raise ValueError(
                f"patch {self.patch} is not a multiple of scale {self.scale}; "
                f"use {down} or {down + self.scale}"
            )
        return self

    @model_validator(mode="after")
    def _classes_differ(self) -> Data:
        if len(self.classes) == 1:
            raise ValueError(
                f"classes names only {next(iter(self.classes))}; name at least two, or none"
            )
        return self


class Model(_Part):
    """The generator every trial trains."""

    name: str = Field(description="Architecture, one of GET /models.", examples=["espcn"])
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the architecture; see GET /models."
    )


class Term(_Part):
    """One loss of the sum L = Σ wᵢ·Lᵢ."""

    loss: str = Field(description="Loss, one of GET /losses.", examples=["content"])
    name: TermName | None = Field(
        default=None,
        description="What this term is called in weights and charts; default: the loss.",
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the loss; see GET /losses."
    )
    weight: Literal["search"] | Annotated[float, Field(ge=0)] = Field(
        default="search", description="`search`, or a raw weight that stays fixed in every trial."
    )
    share: tuple[Share, Share] | None = Field(
        default=None,
        description="Range of the gradient share searched (space `shares`); default: the loss's own.",
    )
    range: tuple[Positive, Positive] | None = Field(
        default=None,
        description="Range of the raw weight searched, log-uniform (space `weights`); "
        "default [1e-4, 10].",
    )
    optional: bool = Field(
        default=False, description="Let the search also try trials without this term."
    )

    @property
    def key(self) -> str:
        """The name under which weights and metrics carry this term."""
        return self.name or self.loss

    @property
    def searched(self) -> bool:
        return self.weight == "search"

    @model_validator(mode="after")
    def _ranges_rise(self) -> Term:
        for field, pair in (("share", self.share), ("range", self.range)):
            if pair is not None and pair[0] >= pair[1]:
                raise ValueError(f"{field} [{pair[0]}, {pair[1]}] is empty; write [low, high]")
        return self


class Search(_Part):
    """Where trials come from."""

    space: Literal["shares", "weights"] = Field(
        default="shares",
        description="`shares`: points on the simplex of gradient shares, turned into raw weights by "
        "the calibration after warm-up. `weights`: raw weights, log-uniform.",
    )
    sampler: Literal["tpe", "gp", "nsga2", "random"] = Field(
        default="tpe", description="Optuna's sampler."
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of the proposals.")
    startup: int = Field(
        default=8,
        ge=1,
        lt=_COUNTS,
        description="Trials proposed at random before the sampler models anything.",
    )
    ahead: int = Field(
        default=2, ge=1, le=64, description="Proposals kept ready, so that no worker waits for one."
    )
    recipes: list[str] = Field(
        default_factory=lambda: ["pixel"],
        description="Published weights to try first, of GET /recipes; `pixel` is the first "
        "searched pixel loss alone, the baseline.",
        examples=[["pixel", "srgan", "esrgan"]],
    )


class Optimizer(_Part):
    """Adam's settings, for the generator and the networks trained beside it."""

    name: Literal["adam", "adamw"] = Field(default="adam", description="Optimiser.")
    lr: Positive = Field(default=2e-4, description="Learning rate of the generator.")
    discriminator_lr: Positive = Field(
        default=1e-4, description="Of networks trained beside it: discriminators, shrinkers."
    )
    betas: tuple[Share, Share] = Field(default=(0.9, 0.99), description="Adam's moments.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(default=0.0, description="AdamW's decay.")


class Schedule(_Part):
    """The learning rate over a trial."""

    name: Literal["constant", "cosine", "multistep"] = Field(
        default="cosine", description="Shape of the decay."
    )
    floor: Share = Field(default=0.05, description="Last learning rate over the first (cosine).")
    milestones: list[Share] = Field(
        default_factory=lambda: [0.5, 0.8, 0.9, 0.95],
        description="Fractions of the steps at which the rate halves (multistep).",
    )


class Warmup(_Part):
    """The pre-trained start that all trials share; the study's first job makes it."""

    steps: int = Field(
        default=2000,
        ge=1,
        lt=_COUNTS,
        description="Steps on the first searched pixel loss alone.",
    )
    lr: Positive = Field(default=1e-3, description="Learning rate of the warm-up.")
    discriminator_steps: int = Field(
        default=100,
        ge=0,
        lt=_COUNTS,
        description="Steps of discriminators and shrinkers alone, before calibration.",
    )
    calibration_batches: int = Field(
        default=8, ge=1, lt=_COUNTS, description="Batches over which ‖∂Lᵢ/∂θ‖ is averaged."
    )


class Training(_Part):
    """How one trial trains."""

    steps: int = Field(
        default=5000, ge=2, lt=_COUNTS, description="Optimiser steps of a trial, after warm-up."
    )
    rungs: list[Share] = Field(
        default_factory=lambda: [0.25, 0.5, 0.75],
        description="Fractions of the steps at which a trial is scored and reported before the end.",
    )
    optimizer: Optimizer = Field(default_factory=Optimizer, description="Adam's settings.")
    schedule: Schedule = Field(default_factory=Schedule, description="Learning rate over a trial.")
    warmup: Warmup = Field(default_factory=Warmup, description="The shared start.")
    ema: Share = Field(
        default=0.999, description="Decay of the averaged weights that are scored; 0: none."
    )
    checkpoint_every: int = Field(
        default=0,
        ge=0,
        lt=_COUNTS,
        description="Steps between checkpoints beside those at rungs; 0: rungs only.",
    )
    log_every: int = Field(
        default=20, ge=1, lt=_COUNTS, description="Steps between points of a curve."
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of crops and initial weights.")
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Arithmetic of forward passes (autocast)."
    )

    @model_validator(mode="after")
    def _rungs_rise(self) -> Training:
        steps = self.rung_steps()
        if len(set(steps)) != len(steps) or steps != sorted(steps):
            raise ValueError(
                f"rungs {self.rungs} must rise and fall on different steps of {self.steps}"
            )
        if steps and (steps[0] < 1 or steps[-1] >= self.steps):
            raise ValueError(f"rungs {self.rungs} must lie between step 1 and {self.steps - 1}")
        return self

    def rung_steps(self) -> list[int]:
        """The steps at which a trial reports, the end not among them."""
        return [round(fraction * self.steps) for fraction in self.rungs]


class Pruning(_Part):
    """When a trial may be stopped early."""

    method: Literal["none", "transfer"] = Field(
        default="transfer",
        description="`transfer`: stop a dominated trial at a rung whose ranking has been measured to "
        "agree with the ranking at the end. `none`: never.",
    )
    transfer: Share = Field(
        default=0.7, description="Least rank correlation of rung and end, in every objective."
    )
    after: Share = Field(default=0.5, description="No pruning before this fraction of the steps.")
    trials: int = Field(
        default=6, ge=3, lt=_COUNTS, description="Complete trials needed to measure transfer."
    )
    keep: Share = Field(default=0.5, description="Fraction of the trials at a rung that go on.")


class Confirm(_Part):
    """The last phase: the best again, at full length, with other seeds."""

    candidates: int = Field(
        default=0, ge=0, le=16, description="Members of the front to repeat; 0: none."
    )
    seeds: int = Field(default=2, ge=1, le=16, description="Repeats of each, and of the baselines.")


class Budget(_Part):
    """What the study may spend; whatever ends first ends it."""

    trials: int = Field(default=40, ge=1, le=100_000, description="Trials, recipes included.")
    gpu_hours: Positive | None = Field(default=None, description="Device hours of all attempts.")
    wall_hours: Positive | None = Field(default=None, description="Hours from the first lease.")


def _takes_schema(schema: dict[str, Any]) -> None:
    """Editors let a JSON document name its schema; `contract.checking` lets it pass, too."""
    schema["properties"]["$schema"] = {"type": "string", "description": "For editors; ignored."}


class StudyDefinition(_Part):
    """A loss-weight study: data, model, losses, and what to look for."""

    model_config = ConfigDict(json_schema_extra=_takes_schema)

    name: Name = Field(description="What people call it.", examples=["photos-x2"])
    description: str = Field(
        default="", max_length=2000, description="For people; first line shows."
    )
    data: Data = Field(description="Photographs, and how pairs are made from them.")
    model: Model = Field(description="The generator every trial trains.")
    losses: list[Term] = Field(min_length=1, max_length=16, description="The terms of the sum.")
    search: Search = Field(default_factory=Search, description="Where trials come from.")
    objectives: list[str] = Field(
        default_factory=lambda: ["psnr_y", "hf_energy_error"],
        min_length=1,
        max_length=4,
        description="Metrics to optimise, of GET /metrics-catalog; each knows its direction.",
    )
    metrics: list[str] = Field(
        default_factory=lambda: ["ssim_y"],
        description="Metrics to report beside the objectives.",
    )
    training: Training = Field(default_factory=Training, description="How one trial trains.")
    pruning: Pruning = Field(default_factory=Pruning, description="When a trial may stop early.")
    confirm: Confirm = Field(default_factory=Confirm, description="Repeats of the best at the end.")
    budget: Budget = Field(default_factory=Budget, description="What the study may spend.")
    priority: int = Field(default=0, ge=-100, le=100, description="Higher goes first.")
    weight: float = Field(
        default=1.0,
        ge=0.01,
        le=100,
        description="Share of the fleet among its owner's studies of the same priority.",
    )
    max_running: int | None = Field(
        default=None,
        ge=1,
        lt=_COUNTS,
        description="Trials in training at once, at most; default: no limit.",
    )
    memory_gb: float = Field(
        default=0.0, ge=0, le=10_000, description="Device memory a worker must have, in GB (10⁹)."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="A worker must carry all of these to train this study."
    )

    def term(self, key: str) -> Term:
        """The term of this name; KeyError if there is none."""
        return {term.key: term for term in self.losses}[key]

    @model_validator(mode="after")
    def _names_are_unique(self) -> StudyDefinition:
        keys = [term.key for term in self.losses]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(
                f"losses name {', '.join(twice)} twice; give one of them another `name`"
            )
        if twice := sorted({m for m in self.objectives if self.objectives.count(m) > 1}):
            raise ValueError(f"objectives name {', '.join(twice)} twice; remove one")
        if not any(term.searched for term in self.losses):
            raise ValueError("no loss has weight `search`, so there is nothing to tune; set one")
        return self
