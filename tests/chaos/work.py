"""The studies a run works on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image
from skimage import data as photographs

from service.client import Client
from tests.chaos.site import ARITHMETIC, CROWD, IMAGES
from tests.chaos.temper import POISON_STUDY

#: The study of which 64 leases are asked for at once, and how many it may run.
CROWDED, CROWD_LIMIT = "crowded", 10


def submit_all(client: Client, folder: Path, *, trials: int, images: int) -> list[str]:
    """Submit studies with so many trials in all; their ids."""
    wide = max(trials // 5, 4)
    small = max(trials // 12, 8)
    definitions = [
        numbers(CROWDED, trials=wide, sampler="random", max_running=CROWD_LIMIT)
        | {"labels": CROWD},
        numbers("broad", trials=wide, sampler="random"),
        numbers("modelled", trials=wide, sampler="tpe", weight=2.0),
        numbers("pruned", trials=wide, sampler="random", pruning="transfer"),
        numbers(POISON_STUDY, trials=small, sampler="random"),
        numbers("confirmed", trials=small, sampler="random", confirm=2),
        numbers("hours", trials=100_000, sampler="random", gpu_hours=trials * 0.1 / 3600),
    ]
    if images:
        definitions.append(photos("photos", folder, trials=images))
    return [client.submit(definition, key=definition["name"]).id for definition in definitions]


def numbers(
    name: str,
    *,
    trials: int,
    sampler: str,
    pruning: str = "none",
    confirm: int = 0,
    weight: float = 1.0,
    max_running: int | None = None,
    gpu_hours: float | None = None,
) -> dict[str, Any]:
    """A study for simulated workers; its photos need not exist."""
    budget: dict[str, Any] = {"trials": trials}
    if gpu_hours is not None:
        budget["gpu_hours"] = gpu_hours
    return {
        "name": name,
        "data": {"train": ["/nowhere/train"], "validation": ["/nowhere/validation"]},
        "model": {"name": "espcn"},
        "losses": [{"loss": "l1"}, {"loss": "edge"}],
        "search": {"recipes": ["pixel"], "startup": 4, "seed": 3, "sampler": sampler, "ahead": 8},
        "objectives": ["psnr_y", "hf_energy_error"],
        "metrics": [],
        "training": {"steps": 100, "rungs": [0.25, 0.5, 0.75]},
        "pruning": {"method": pruning},
        "confirm": {"candidates": confirm, "seeds": 1},
        "budget": budget,
        "weight": weight,
        "max_running": max_running,
        "labels": ARITHMETIC,
    }


def photos(name: str, folder: Path, *, trials: int) -> dict[str, Any]:
    """A study that is really trained: ten steps on 16-pixel crops."""
    for kind, photograph in (("train", "astronaut"), ("validation", "chelsea")):
        path = folder / "photos" / kind
        path.mkdir(parents=True, exist_ok=True)
        pixels = getattr(photographs, photograph)()[64:112, 64:112]
        Image.fromarray(pixels).save(path / f"{photograph}.png")
    data = {kind: [str(folder / "photos" / kind)] for kind in ("train", "validation")}
    return {
        "name": name,
        "data": {**data, "scale": 2, "patch": 16, "batch": 1},
        "model": {"name": "espcn"},
        "losses": [{"loss": "l1"}, {"loss": "edge"}],
        "search": {"recipes": ["pixel"], "startup": 2, "sampler": "random"},
        "objectives": ["psnr_y", "hf_energy_error"],
        "metrics": [],
        "training": {
            "steps": 10,
            "rungs": [0.5],
            "log_every": 5,
            "warmup": {"steps": 5, "discriminator_steps": 0, "calibration_batches": 1},
        },
        "pruning": {"method": "none"},
        "budget": {"trials": trials},
        "labels": IMAGES,
    }
