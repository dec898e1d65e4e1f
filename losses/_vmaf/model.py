"""Netflix's models of VMAF: a support vector machine that fuses six features into one score."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import torch
from torch import Tensor

#: The published models that take the features of v0.6.1; neg: enhancement gain is not rewarded.
MODELS = ("vmaf_v0.6.1", "vmaf_v0.6.1neg", "vmaf_4k_v0.6.1", "vmaf_4k_v0.6.1neg")

#: The order in which a model takes its features.
FEATURES = ("adm2", "motion2", "vif_scale0", "vif_scale1", "vif_scale2", "vif_scale3")

#: What gain a model that names no limit lets ADM and VIF credit.
UNLIMITED = 100.0


class UnknownModel(LookupError):
    """No model of VMAF has this name."""


@dataclass(frozen=True, eq=False)
class Model:
    """A ν-SVR with a Gaussian kernel on linearly rescaled features.

    x = slope·f + intercept per feature, y = Σ_j α_j·exp(-γ‖x - sv_j‖²) - ρ, and the score is
    (y - intercept₀)/slope₀. libvmaf leaves the models' `score_transform` off, and so do we.
    """

    name: str
    gain_limit: float  #: how far above the reference's contrast detail is credited; 1: not at all
    slopes: Tensor
    intercepts: Tensor
    score_slope: float
    score_intercept: float
    gamma: float
    rho: float
    coefficients: Tensor  #: α, (S,)
    support: Tensor  #: (S, 6)
    low: float
    high: float

    @classmethod
    def named(cls, name: str) -> Model:
        """Read a published model; raises UnknownModel."""
        if name not in MODELS:
            raise UnknownModel(f"No VMAF model {name!r}; known are {', '.join(MODELS)}.")
        return _read(name)

    def raw(self, features: Tensor) -> Tensor:
        """Return the unclipped scores (N,) of features (N, 6) in the order of FEATURES.

        Computed in the features' precision and differentiable; above 100 or below 0 where the
        features lie beyond what the model was trained on.
        """
        x = features * self.slopes.to(features) + self.intercepts.to(features)
        away = (x[:, None] - self.support.to(features)).square().sum(-1)
        y = torch.exp(-self.gamma * away) @ self.coefficients.to(features) - self.rho
        return (y - self.score_intercept) / self.score_slope

    def score(self, features: Tensor) -> Tensor:
        """Return the scores (N,) that libvmaf reports: clipped to 0..100."""
        return self.raw(features).clamp(self.low, self.high)


@cache
def _read(name: str) -> Model:
    text = resources.files("losses._vmaf").joinpath("models", f"{name}.json").read_text()
    stored: dict[str, Any] = json.loads(text)["model_dict"]
    header, _, vectors = stored["model"].partition("SV\n")
    settings = dict(line.split(" ", 1) for line in header.splitlines())
    coefficients, support = _vectors(vectors)
    limits = [v for options in stored.get("feature_opts_dicts", ()) for v in options.values()]
    low, high = stored["score_clip"]
    return Model(
        name=name,
        gain_limit=min(limits, default=UNLIMITED),
        slopes=torch.tensor(stored["slopes"][1:], dtype=torch.float64),
        intercepts=torch.tensor(stored["intercepts"][1:], dtype=torch.float64),
        score_slope=stored["slopes"][0],
        score_intercept=stored["intercepts"][0],
        gamma=float(settings["gamma"]),
        rho=float(settings["rho"]),
        coefficients=coefficients,
        support=support,
        low=low,
        high=high,
    )


def _vectors(text: str) -> tuple[Tensor, Tensor]:
    """Read libsvm's sparse lines "α 1:x₁ 2:x₂ ..."; what a line leaves out is 0."""
    lines = [line.split() for line in text.splitlines() if line]
    coefficients = torch.tensor([float(line[0]) for line in lines], dtype=torch.float64)
    support = torch.zeros(len(lines), len(FEATURES), dtype=torch.float64)
    for row, (_, *entries) in enumerate(lines):
        for entry in entries:
            position, _, value = entry.partition(":")
            support[row, int(position) - 1] = float(value)
    return coefficients, support
