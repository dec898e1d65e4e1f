"""Small real things for losses: photographs' statistics in miniature, narrow networks, suppliers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from losses._features import Backbone, FeatureNetwork, network

VECTORS = Path(__file__).parents[1] / "vectors" / "losses"

Supplier = Callable[[nn.Module, tuple[str, ...], Tensor, Tensor], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """One result that other people's code computed: inputs, value, gradients, tolerances."""

    id: str
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    grads: list[str]
    rtol: float
    atol: float

    def assert_value(self, value: Tensor, name: str = "value") -> None:
        torch.testing.assert_close(
            value.detach(), self.outputs[name], rtol=self.rtol, atol=self.atol
        )

    def assert_gradient(self, gradient: Tensor, of: str) -> None:
        wanted = self.outputs[f"grad_{of}"]
        floor = self.atol * float(wanted.abs().max())
        torch.testing.assert_close(gradient, wanted, rtol=self.rtol, atol=floor)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def case() -> Callable[[str], Case]:
    """Return a reader of stored cases by id."""
    index = json.loads((VECTORS / "index.json").read_text())["cases"]
    entries = {entry["id"]: entry for entry in index}

    def read(case_id: str) -> Case:
        entry = entries[case_id]
        inputs = {name: _tensor(*place.split(".")) for name, place in entry["inputs"].items()}
        with np.load(VECTORS / "cases" / f"{case_id}.npz") as stored:
            outputs = {key: torch.from_numpy(np.asarray(stored[key])) for key in stored}
        return Case(case_id, inputs, outputs, entry["grads"], entry["rtol"], entry["atol"])

    return read


def _tensor(file: str, key: str) -> Tensor:
    with np.load(VECTORS / f"{file}.npz") as stored:
        return torch.from_numpy(stored[key].astype(np.float64))


@pytest.fixture(scope="session")
def narrow_vgg19() -> FeatureNetwork:
    """VGG19 at a sixteenth of its width, the one the stored perceptual values belong to."""
    with np.load(VECTORS / "vgg19_narrow.npz") as stored:
        state = {key: torch.from_numpy(stored[key]) for key in stored}
    return network("vgg19", state).double()


@pytest.fixture(scope="session")
def narrow() -> Callable[[Backbone], FeatureNetwork]:
    """Return a maker of thin random networks with every backbone's real layout."""

    def make(backbone: Backbone) -> FeatureNetwork:
        generator = torch.Generator().manual_seed(11)
        shapes = _squeezenet_shapes() if backbone == "squeezenet1_1" else _vgg_shapes(backbone)
        state = {}
        for key, shape in shapes.items():
            fan_in = shape[1] * shape[2] * shape[3]
            state[f"{key}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
            state[f"{key}.bias"] = torch.randn(shape[0], generator=generator) * 0.1
        return network(backbone, state)

    return make


def _vgg_shapes(backbone: Backbone) -> dict[str, tuple[int, int, int, int]]:
    blocks = (2, 2, 3, 3, 3) if backbone == "vgg16" else (2, 2, 4, 4, 4)
    shapes: dict[str, tuple[int, int, int, int]] = {}
    index, inputs = 0, 3
    for block, convolutions in enumerate(blocks):
        outputs = min(4 * 2**block, 16)
        for _ in range(convolutions):
            shapes[f"features.{index}"] = (outputs, inputs, 3, 3)
            index, inputs = index + 2, outputs
        index += 1
    return shapes


def _squeezenet_shapes() -> dict[str, tuple[int, int, int, int]]:
    shapes = {"features.0": (8, 3, 3, 3)}
    for index in (3, 4, 6, 7, 9, 10, 11, 12):
        shapes[f"features.{index}.squeeze"] = (4, 8, 1, 1)
        shapes[f"features.{index}.expand1x1"] = (4, 4, 1, 1)
        shapes[f"features.{index}.expand3x3"] = (4, 4, 3, 3)
    return shapes | {"classifier.1": (10, 8, 1, 1)}


@pytest.fixture
def supply(narrow: Callable[[Backbone], FeatureNetwork]) -> Supplier:
    """Return what a loss needs, made as the trainer makes it, in the precision of SR."""

    def give(loss: nn.Module, needs: tuple[str, ...], sr: Tensor, hr: Tensor) -> dict[str, Any]:
        precision = torch.float64 if sr.dtype is torch.float64 else torch.float32
        given: dict[str, Any] = {}
        for need in needs:
            if need == "features":
                net = narrow(loss.backbone).to(precision)  # type: ignore[arg-type]  # every loss that needs features names its backbone
                given[need] = net.compare(sr, hr, loss.layers)  # type: ignore[arg-type]  # and its layers
            elif need == "discriminator":
                with torch.random.fork_rng():
                    torch.manual_seed(5)
                    given[need] = loss.build_discriminator().to(precision)  # type: ignore[operator]  # likewise
            else:
                pytest.fail(f"no trainer supplies {need}")
        return given

    return give


@pytest.fixture
def pair() -> Callable[..., tuple[Tensor, Tensor]]:
    """Return a maker of (SR, HR): smooth images with detail, SR a little off."""

    def make(
        n: int = 2, size: int = 16, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(3)
        coarse = torch.rand(n, 3, 4, 4, generator=generator, dtype=torch.float64)
        smooth = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
        detail = torch.randn(n, 3, size, size, generator=generator, dtype=torch.float64)
        hr = (smooth * 0.8 + 0.1 + 0.02 * detail).clamp(0, 1)
        error = torch.randn(n, 3, size, size, generator=generator, dtype=torch.float64)
        return (hr + 0.03 * error).to(dtype), hr.to(dtype)

    return make
