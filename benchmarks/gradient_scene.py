"""A photograph, its bicubic ×4 version, and everything a loss needs there: what gradients are drawn of."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from skimage import data
from torch import Tensor, nn

import losses
from losses import FeatureSource
from losses._faces import Windows
from losses._features import FeatureNetwork
from workers import weights
from workers.data.degrade import bicubic, enlarge
from workers.faces import detector
from workers.suppliers.networks import seeded

SCALE = 4
#: Side of what losses see; MS-SSIM needs 161.
SIDE = 176

#: Top and left of the square in skimage's photo: a cat's eye and fur; a whole face.
_PLACES = {"chelsea": (40, 90), "astronaut": (20, 136)}
#: What companions are trained on; the cat is only seen where the picture is not.
_SCHOOL = ("astronaut", "coffee", "rocket")


class Scene:
    """One square of a photo as HR, LR, SR (1, 3, H, W) in [0, 1], SR with a gradient."""

    hr: Tensor
    lr: Tensor
    smooth: Tensor  #: the bicubic enlargement
    sr: Tensor  #: that, perhaps sharpened

    def __init__(self, photo: str = "chelsea", *, sharpened: float = 0.0, side: int = SIDE) -> None:
        self.photo = photo
        top, left = _PLACES[photo]
        self.hr = _image(photo)[:, top : top + side, left : left + side][None]
        self.lr = bicubic(self.hr, SCALE).clamp(0, 1)
        self.smooth = enlarge(self.lr, SCALE).clamp(0, 1)
        self.sr = (self.smooth + sharpened * _details(self.smooth)).clamp(0, 1).requires_grad_()

    def gradient(self, name: str, parameters: dict[str, Any]) -> tuple[float, Tensor]:
        """Return the value of a loss here, and ∂L/∂SR (3, H, W)."""
        loss: Any = losses.build(name, **parameters)
        given = {need: SUPPLIERS[need](self, loss) for need in losses.needs_of(loss)}
        value = loss(self.sr, self.hr, **given)
        (gradient,) = torch.autograd.grad(value, self.sr)
        return float(value.detach()), gradient[0]

    def faces(self, loss: Any) -> object:
        """Return the heat maps of the faces in the photo."""
        top, left = _PLACES[self.photo]
        found = detector().detect((_image(self.photo) * 255).round().to(torch.uint8)).boxes
        boxes = found - torch.tensor([left, top, left, top]).to(found)
        inside = boxes[(boxes.amin(dim=1) >= 0) & (boxes.amax(dim=1) <= SIDE)]
        windows = Windows.of_boxes(inside, torch.zeros(len(inside), dtype=torch.int64), 1)
        return weights.face_network(loss.face_source).compare(self.sr, self.hr, windows)


def _companion(need: str) -> Callable[[Scene, Any], nn.Module]:
    """Supply a network that has been trained beside a bicubic generator for a hundred steps."""

    def train(scene: Scene, loss: Any, steps: int = 100) -> nn.Module:
        network = seeded(getattr(loss, f"build_{need}"), 1)
        optimiser = torch.optim.Adam(network.parameters(), lr=4e-4)
        draw = torch.Generator().manual_seed(2)
        for step in range(steps):
            hr = _crops(draw)
            lr = bicubic(hr, SCALE)
            given = {"lr": lr, "step": step}
            wanted = {x: given[x] for x in losses.needs_of(loss) if x in given}
            value = getattr(loss, f"{need}_loss")(enlarge(lr, SCALE), hr, network, **wanted)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
        return network.requires_grad_(False).eval()

    return train


@cache
def _network(source: FeatureSource) -> FeatureNetwork:
    return weights.feature_network(source)


#: Need → what gives it, from the scene and the loss.
SUPPLIERS: dict[str, Callable[[Scene, Any], object]] = {
    "lr": lambda scene, loss: scene.lr,
    "features": lambda scene, loss: _network(loss.source).compare(scene.sr, scene.hr, loss.layers),
    "discriminator": _companion("discriminator"),
    "shrinker": _companion("shrinker"),
    "faces": Scene.faces,
    "averaged": lambda scene, loss: scene.smooth,
}


@cache
def _image(name: str) -> Tensor:
    """Return skimage's photo (3, H, W) in [0, 1]."""
    pixels = torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)
    return pixels.contiguous().float() / 255


def _crops(draw: torch.Generator, count: int = 8, side: int = 64) -> Tensor:
    """Return random crops (N, 3, side, side) of the photos companions are trained on."""
    found = []
    for _ in range(count):
        image = _image(_SCHOOL[_at_random(len(_SCHOOL), draw)])
        top, left = (_at_random(length - side, draw) for length in image.shape[1:])
        found.append(image[:, top : top + side, left : left + side])
    return torch.stack(found)


def _at_random(below: int, draw: torch.Generator) -> int:
    return int(torch.randint(below, (), generator=draw))


def _details(images: Tensor) -> Tensor:
    """Return what a blur takes away."""
    blurred = nn.functional.avg_pool2d(images, 5, stride=1, padding=2, count_include_pad=False)
    return images - blurred
