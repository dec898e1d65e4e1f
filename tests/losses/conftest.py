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

import losses
from losses import FeatureSource
from losses._faces import Faces
from losses._features import Backbone, FeatureNetwork, network

VECTORS = Path(__file__).parents[1] / "vectors" / "losses"

Supplier = Callable[[nn.Module, Tensor, Tensor], dict[str, Any]]


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
def narrow() -> Callable[[FeatureSource | Backbone], FeatureNetwork]:
    """Return a maker of thin random networks with every backbone's real layout."""

    def make(source: FeatureSource | Backbone) -> FeatureNetwork:
        if not isinstance(source, FeatureSource):
            source = FeatureSource(source)
        state = narrow_state(source.backbone)
        preprocessing = "imagenet" if source.preprocessing == "own" else source.preprocessing
        pooling = {} if source.pooling == "max" else {"pooling": source.pooling}
        return network(source.backbone, state, preprocessing, **pooling)

    return make


def narrow_state(backbone: str) -> dict[str, Tensor]:
    """Random tensors under torchvision's names, a few channels wide."""
    generator = torch.Generator().manual_seed(11)
    state: dict[str, Tensor] = {}
    for key, shape in _SHAPES[backbone]().items():
        if len(shape) == 1:  # a batch normalisation, near the identity
            state[f"{key}.weight"] = 0.5 + torch.rand(shape, generator=generator)
            state[f"{key}.bias"] = torch.randn(shape, generator=generator) * 0.1
            state[f"{key}.running_mean"] = torch.randn(shape, generator=generator) * 0.1
            state[f"{key}.running_var"] = 0.5 + torch.rand(shape, generator=generator)
            continue
        fan_in = shape[1] * shape[2] * shape[3]
        state[f"{key}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        if not backbone.startswith("resnet"):
            state[f"{key}.bias"] = torch.randn(shape[0], generator=generator) * 0.1
    return state


def _vgg_shapes(convolutions: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    index, inputs = 0, 3
    for block, count in enumerate(convolutions):
        outputs = min(4 * 2**block, 16)
        for _ in range(count):
            shapes[f"features.{index}"] = (outputs, inputs, 3, 3)
            index, inputs = index + 2, outputs
        index += 1
    return shapes


def _squeezenet_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"features.0": (8, 3, 3, 3)}
    for index in (3, 4, 6, 7, 9, 10, 11, 12):
        shapes[f"features.{index}.squeeze"] = (4, 8, 1, 1)
        shapes[f"features.{index}.expand1x1"] = (4, 4, 1, 1)
        shapes[f"features.{index}.expand3x3"] = (4, 4, 3, 3)
    return shapes | {"classifier.1": (10, 8, 1, 1)}


def _resnet_shapes(blocks: tuple[int, ...], *, expansion: int) -> dict[str, tuple[int, ...]]:
    """ResNet18's basic blocks (expansion 1) or ResNet50's bottlenecks (expansion 4)."""
    shapes: dict[str, tuple[int, ...]] = {"conv1": (4, 3, 7, 7), "bn1": (4,)}
    inputs = 4
    for layer, count in enumerate(blocks, start=1):
        width = 4 if layer < 3 else 6
        for index in range(count):
            key, outputs = f"layer{layer}.{index}", width * expansion
            kernels = (3, 3) if expansion == 1 else (1, 3, 1)
            ins = inputs
            for number, kernel in enumerate(kernels, start=1):
                outs = outputs if number == len(kernels) else width
                shapes[f"{key}.conv{number}"] = (outs, ins, kernel, kernel)
                shapes[f"{key}.bn{number}"] = (outs,)
                ins = outs
            if index == 0 and (layer > 1 or inputs != outputs):
                shapes[f"{key}.downsample.0"] = (outputs, inputs, 1, 1)
                shapes[f"{key}.downsample.1"] = (outputs,)
            inputs = outputs
    return shapes


_SHAPES: dict[str, Callable[[], dict[str, tuple[int, ...]]]] = {
    "vgg16": lambda: _vgg_shapes((2, 2, 3, 3, 3)),
    "vgg19": lambda: _vgg_shapes((2, 2, 4, 4, 4)),
    "squeezenet1_1": _squeezenet_shapes,
    "resnet18": lambda: _resnet_shapes((2, 2, 2, 2), expansion=1),
    "resnet50": lambda: _resnet_shapes((3, 4, 6, 3), expansion=4),
}


@pytest.fixture
def supply(narrow: Callable[[FeatureSource], FeatureNetwork]) -> Supplier:
    """Return what a loss needs, made as the trainer makes it, in the precision of SR."""

    def give(loss: nn.Module, sr: Tensor, hr: Tensor) -> dict[str, Any]:
        like: Any = loss  # losses that have a need carry what it takes; see losses._spec.NEEDS
        precision = torch.float64 if sr.dtype is torch.float64 else torch.float32
        given: dict[str, Any] = {}
        for need in losses.needs_of(loss):
            if need == "features":
                net = narrow(like.source).to(hr.device, precision)
                given[need] = net.compare(sr, hr, like.layers)
            elif need in losses.TRAINED:
                with torch.random.fork_rng():
                    torch.manual_seed(5)
                    given[need] = getattr(like, f"build_{need}")().to(hr.device, precision)
            elif need == "heads":
                given[need] = _heads(like, narrow, hr.device, precision)
            elif need == "faces":
                given[need] = _faces(sr, hr)
            else:
                given[need] = _PLAIN[need](sr, hr)
        return given

    return give


_PLAIN: dict[str, Callable[[Tensor, Tensor], object]] = {
    "lr": lambda sr, hr: nn.functional.avg_pool2d(hr, 2),
    "labels": lambda sr, hr: torch.arange(len(hr), device=hr.device) % 2,
    # The running average lags behind: nearer to HR in places, farther in others.
    "averaged": lambda sr, hr: (hr + 0.7 * (sr - hr).roll(1, -1)).detach(),
    "step": lambda sr, hr: 3,
}


def _heads(loss: Any, narrow: Any, device: torch.device, precision: torch.dtype) -> Any:
    """A positive weight per channel and layer, under the names the loss documents."""
    probe = narrow(loss.source).extract(torch.rand(1, 3, 32, 32), loss.layers)
    widths = {layer: found.shape[1] for layer, found in probe.items()}
    generator = torch.Generator().manual_seed(4)
    keys = loss.head_shapes(widths)
    return {
        key: torch.rand(width, generator=generator).to(device, precision)
        for key, width in keys.items()
    }


def _faces(sr: Tensor, hr: Tensor) -> Faces:
    """Heat maps of a stand-in for a face network: smooth in the image, and one face an image."""
    generator = torch.Generator().manual_seed(6)
    kernel = torch.randn(68, 3, 3, 3, generator=generator).to(hr.device, hr.dtype) * 0.2

    def maps(images: Tensor) -> Tensor:
        return nn.functional.conv2d(nn.functional.avg_pool2d(images, 2), kernel).sigmoid()

    samples = torch.arange(len(hr), device=hr.device)
    return Faces(maps(sr.to(hr.dtype)), maps(hr).detach(), samples, len(hr))


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
