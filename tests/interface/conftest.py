"""A site to ask and a scene to ask about; words with parameters of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.contract.vocabulary import (
    LossInfo,
    MetricInfo,
    ModelInfo,
    Parameter,
    Recipe,
    RecipeTerm,
    Vocabulary,
)
from tests.interface.site import STEPS, Scene, Site, running, scene

_PARAMETERS = [
    Parameter(name="features", type="str", default="vgg19"),
    Parameter(name="layers", type="list", default=None),
    Parameter(name="mix", type="mapping", default=None),
    Parameter(name="eps", type="float", default=1e-3, low=0.0, high=1.0),
    Parameter(name="depth", type="int", default=3, low=1, high=9),
    Parameter(name="relative", type="bool", default=False),
    Parameter(name="kind", type="str", default="plain", choices=["plain", "ragan"]),
]


def words() -> Vocabulary:
    """Three losses, one with parameters of every type; a model, two metrics, a recipe."""
    psnr = MetricInfo(name="psnr_y", summary="PSNR", direction="maximize", side="distortion")
    mdsi = MetricInfo(name="mdsi", summary="MDSI", direction="minimize", side="perception")
    terms = [RecipeTerm(loss="l1", weight=0.01), RecipeTerm(loss="content", weight=1.0)]
    losses = [
        LossInfo(name="l1", family="pixel", summary="L1", side="distortion", share=(0.0, 1.0)),
        LossInfo(
            name="content", family="content", summary="features", side="perception",
            share=(0.0, 1.0), parameters=_PARAMETERS,
        ),
        LossInfo(name="edge", family="edge", summary="edges", side="distortion", share=(0.0, 1.0)),
    ]  # fmt: skip
    model = ModelInfo(
        name="espcn",
        summary="ESPCN",
        scales=[2, 3, 4],
        parameters=[Parameter(name="width", type="int", default=64, low=1, high=512)],
    )
    return Vocabulary(
        losses={loss.name: loss for loss in losses},
        models={"espcn": model},
        metrics={"psnr_y": psnr, "mdsi": mdsi},
        recipes={"paper": Recipe(name="paper", summary="A", source="nowhere", terms=terms)},
    )


def small() -> dict[str, Any]:
    """A definition that says something in every part, so that every part can be spoilt."""
    return {
        "name": "small",
        "description": "first line",
        "data": {
            "train": ["/photos/train"],
            "validation": ["/photos/test"],
            "scale": 2,
            "patch": 96,
        },
        "model": {"name": "espcn", "parameters": {"width": 32}},
        "losses": [
            {"loss": "l1"},
            {"loss": "content", "share": [0.0, 0.5], "parameters": {"features": "vgg19"}},
            {"loss": "edge", "name": "edges", "weight": 0.5},
        ],
        "search": {"recipes": ["pixel"], "startup": 2, "seed": 7},
        "objectives": ["psnr_y", "mdsi"],
        "metrics": [],
        "training": {
            "steps": STEPS,
            "rungs": [0.25, 0.5],
            "optimizer": {"lr": 1e-3, "betas": [0.9, 0.99]},
            "schedule": {"milestones": [0.5]},
            "warmup": {"steps": 10},
        },
        "pruning": {"trials": 3},
        "confirm": {"candidates": 1},
        "budget": {"trials": 8, "gpu_hours": 1.0},
        "priority": 1,
        "weight": 2.0,
        "memory_gb": 0.0,
        "labels": {},
    }


@pytest.fixture
def definition() -> dict[str, Any]:
    """A valid definition."""
    plain = small()
    plain["losses"] = [{"loss": "l1"}, {"loss": "content"}, {"loss": "edge"}]
    return plain


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    """A service with an operator's token, which does nothing unasked."""
    with running(database_url, words(), tmp_path / "data") as found:
        yield found


@pytest.fixture
def stage(site: Site, definition: dict[str, Any]) -> Scene:
    """One of everything on that site."""
    return scene(site, definition)
