"""Photographs and a small study for tests with real processes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from skimage import data as photographs

from tests.end_to_end.bench import Bench


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of photographs, train and validation apart."""
    folder = tmp_path_factory.mktemp("photos")
    for kind, name, x, y in (
        ("train", "astronaut", 100, 0),
        ("train", "coffee", 200, 100),
        ("train", "rocket", 250, 150),
        ("validation", "chelsea", 120, 60),
    ):
        (folder / kind).mkdir(exist_ok=True)
        pixels = getattr(photographs, name)()[y : y + 96, x : x + 96]
        Image.fromarray(pixels).save(folder / kind / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def definition(photos: Path) -> dict[str, Any]:
    """A study that trains in seconds and has every kind of state: GAN, average, schedule."""
    return {
        "name": "kill me",
        "data": {
            "train": [str(photos / "train")],
            "validation": [str(photos / "validation")],
            "scale": 2,
            "patch": 32,
            "batch": 2,
        },
        "model": {"name": "espcn"},
        "losses": [
            {"loss": "l1"},
            {"loss": "edge"},
            {
                "loss": "adversarial",
                "parameters": {"kind": "relativistic", "channels": 8, "depth": 2},
            },
        ],
        "search": {"seed": 5, "startup": 2, "recipes": ["pixel"], "ahead": 1},
        "objectives": ["psnr_y", "hf_energy_error"],
        "metrics": ["ssim_y"],
        "training": {
            "steps": 320,
            "rungs": [0.25, 0.5, 0.75],
            "log_every": 10,
            "warmup": {"steps": 60, "discriminator_steps": 10, "calibration_batches": 2},
        },
        "pruning": {"method": "none"},
        "budget": {"trials": 3},
    }


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
