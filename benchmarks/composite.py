"""Several terms in one training step: features made once for all, against term by term.

Ours is what a worker's trainer does: one pass of each frozen network for all terms, HR without a graph,
stopping at the deepest layer, networks channels last. Theirs is BasicSR's: every perceptual term runs
both images through a VGG of its own, the relativistic game is played as in its ESRGANModel.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import losses
from benchmarks import peers
from benchmarks.loss_scene import Scene
from benchmarks.pairs_of_features import RELUS
from benchmarks.pairs_of_games import discriminator_side, generator_side
from benchmarks.report import row
from benchmarks.stopwatch import compare
from losses._features import FeatureNetwork, FeatureSource, network
from losses._spec import RecipeTerm
from workers.criterion import Criterion
from workers.data.pairs import Batch
from workers.suppliers import Networks, Step, placed, suppliers

#: ESRGAN's terms; its discriminator without batch normalisation, whose statistics we would not move.
_L1 = RecipeTerm("l1", 1e-2)
_CONTENT = RecipeTerm("content", 1.0, {"preset": "esrgan"})
_TEXTURE = RecipeTerm("texture", 1.0, {"backbone": "vgg19", "layers": RELUS})
_EDGE = RecipeTerm("edge", 1e-2, {"channels": "rgb", "scale": 0.125, "padding": "replicate"})
_GAN = RecipeTerm(
    "adversarial",
    5e-3,
    {"kind": "relativistic", "discriminator": "image", "channels": 64, "depth": 4}
    | {"spectral_norm": False},
)

COMPOSITES: dict[str, tuple[RecipeTerm, ...]] = {
    "l1 + content + texture": (_L1, _CONTENT, _TEXTURE),
    "ESRGAN": (_L1, _CONTENT, _GAN),
    "ESRGAN + texture + edge": (_L1, _CONTENT, _GAN, _TEXTURE, _EDGE),
}

Answer = tuple[Tensor, tuple[Tensor, ...]]


class _RandomWeights:
    """Stands where a worker finds trained weights."""

    def feature_network(self, source: FeatureSource, /) -> FeatureNetwork:
        return network(source.backbone, peers.state(source.backbone), pooling=source.pooling)

    def heads(self, name: str, /) -> Mapping[str, Tensor]:
        raise LookupError(name)

    def face_network(self, source: object, /) -> Any:
        raise LookupError(source)


def ours(scene: Scene, terms: tuple[RecipeTerm, ...], judge: nn.Module) -> Callable[[], Answer]:
    """Return a step of our criterion, and of the discriminator if there is one."""
    built = {term.loss: losses.build(term.loss, **term.parameters) for term in terms}
    companions = {"adversarial": judge} if "adversarial" in built else {}
    device = scene.sr.device
    supplied = suppliers(built, Networks(_RandomWeights(), device), companions)
    criterion = Criterion(built, {term.loss: term.weight for term in terms}, supplied)
    lr = scene.hr[..., ::4, ::4]
    step = Step(Batch(lr=lr, hr=scene.hr), scene.sr)
    game: Any = built.get("adversarial")

    def answer() -> Answer:
        total = criterion.total(criterion.parts(step, criterion.given(step)))
        slopes = torch.autograd.grad(total, scene.sr)
        if game is None:
            return total.detach(), slopes
        value = game.discriminator_loss(scene.sr.detach(), scene.hr, judge)
        own = torch.autograd.grad(value, list(judge.parameters()))
        return total.detach() + value.detach(), slopes + own

    return answer


def theirs(scene: Scene, terms: tuple[RecipeTerm, ...], judge: nn.Module) -> Callable[[], Answer]:
    """Return the same step with BasicSR's losses, each on its own."""
    pixel, gan = peers.load("basicsr", "basicsr.losses.basic_loss", "basicsr.losses.gan_loss")
    sr, hr, device = scene.sr, scene.hr, scene.sr.device
    criterion, names = gan.GANLoss("vanilla"), {term.loss for term in terms}
    calls: dict[str, Callable[[], Tensor]] = {}
    if "l1" in names:
        l1 = pixel.L1Loss()
        calls["l1"] = lambda: l1(sr, hr)
    if "content" in names:
        content = pixel.PerceptualLoss({"conv5_4": 1.0}).to(device)
        calls["content"] = lambda: content(sr, hr)[0]
    if "texture" in names:
        layers = dict.fromkeys(RELUS, 1.0)
        style = pixel.PerceptualLoss(layers, perceptual_weight=0, style_weight=1.0).to(device)
        calls["texture"] = lambda: style(sr, hr)[1]
    if "edge" in names:
        (filters,) = peers.load("kornia", "kornia.filters")
        calls["edge"] = lambda: (
            (filters.spatial_gradient(sr) - filters.spatial_gradient(hr)).abs().mean()
        )
    if "adversarial" in names:
        calls["adversarial"] = lambda: generator_side(criterion, judge, sr, hr, relative=True)

    def answer() -> Answer:
        total = torch.stack([term.weight * calls[term.loss]() for term in terms]).sum()
        slopes = torch.autograd.grad(total, sr)
        if "adversarial" not in names:
            return total.detach(), slopes
        value = discriminator_side(criterion, judge, sr, hr)
        own = torch.autograd.grad(value, list(judge.parameters()))
        return total.detach() + value.detach(), slopes + own

    return answer


def table(scene: Scene, seconds: float) -> None:
    """Print a row for each composite."""
    torch.manual_seed(0)
    game: Any = losses.build("adversarial", **_GAN.parameters)
    judge: nn.Module = game.build_discriminator().to(scene.sr.device)
    for name, terms in COMPOSITES.items():
        sides = (
            ours(scene, terms, placed(copy.deepcopy(judge), scene.sr.device)),
            theirs(scene, terms, judge),
        )
        print(row(name, "term by term", compare(*sides, seconds)), flush=True)
