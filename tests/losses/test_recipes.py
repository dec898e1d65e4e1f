"""Every recipe's total and gradient equal the original's, which `peers` has from its definition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import losses
from losses import Recipe
from losses._features import network
from tests.losses.peers import (
    FIVE,
    artifacts,
    bce,
    dists,
    enet_texture,
    mse,
    normalized,
    perceptual,
    ragan,
    swt,
    tv_copied,
    vgg,
)
from tests.losses.recipe_scene import Scene, scene

every_recipe = pytest.mark.parametrize("recipe", losses.RECIPES.values(), ids=lambda r: r.name)

Terms = dict[str, Tensor]


def _srgan(s: Scene) -> Terms:
    a, b = (vgg("vgg19", s.vgg19, x)[35] / 12.75 for x in (s.sr, s.hr))
    return {
        "content": (a - b).square().mean(),
        "adversarial": -1e-3 * torch.sigmoid(s.d(s.sr)).log().mean(),
    }


def _srgan_tv(s: Scene) -> Terms:
    a, b = (vgg("vgg16", s.vgg16, x, imagenet=False)[30] for x in (s.sr, s.hr))
    return {
        "l2": nn.MSELoss()(s.sr, s.hr),
        "content": 0.006 * nn.MSELoss()(a, b),
        "tv": 2e-8 * tv_copied(s.sr),
    }


def _enhancenet(s: Scene) -> Terms:
    a, b = vgg("vgg19", s.vgg19, s.sr), vgg("vgg19", s.vgg19, s.hr)
    pools = zip((0.2, 0.02), (9, 36), strict=True)
    textures = zip((3e-7, 1e-6, 1e-6), (1, 6, 11), strict=True)
    return {
        "content": sum(w * F.mse_loss(normalized(a[k]), normalized(b[k])) for w, k in pools),  # type: ignore[dict-item]  # sum starts from the int 0
        "texture": sum(w * enet_texture(a[k], b[k]) for w, k in textures),  # type: ignore[dict-item]  # likewise
        "adversarial": 2.0 * bce(s.d(s.sr), True),
    }


def _common(
    pixel: float,
    layers: Mapping[int, float],
    gan: Callable[[Scene], Tensor],
    weight: float,
    *,
    ldl: float = 0.0,
) -> Callable[[Scene], Terms]:
    """BasicSR's sum: L1, perceptual, GAN, and in LDL's branch the artefact map."""

    def terms(s: Scene) -> Terms:
        found = {
            "l1": pixel * nn.L1Loss()(s.sr, s.hr),
            "content": perceptual(s, layers),
            "adversarial": weight * gan(s),
        }
        return found | ({"ldl": ldl * artifacts(s)} if ldl else {})

    return terms


def _safmn_fft(s: Scene) -> Terms:
    a, b = (torch.view_as_real(torch.fft.rfft2(x)) for x in (s.sr, s.hr))
    return {"l1": nn.L1Loss()(s.sr, s.hr), "fft": 0.05 * nn.L1Loss()(a, b)}


def _wgsr(s: Scene) -> Terms:
    bands = (swt(s.sr) - swt(s.hr)).abs().mean((0, 2, 3))
    weights = torch.tensor([0.1, 0.01, 0.01, 0.05], dtype=bands.dtype)
    return {"wavelet": (weights * bands).sum(), "dists": 1.0 * dists(s)}


def _vanilla(s: Scene) -> Tensor:
    return bce(s.d(s.sr), True)


def _least_squares(s: Scene) -> Tensor:
    return mse(s.d(s.sr), True)


def _ragan(s: Scene) -> Tensor:
    return ragan(s, torch.mean)


def _ragan_by_position(s: Scene) -> Tensor:
    return ragan(s, lambda logits: torch.mean(logits, 0, True))


ORIGINALS: dict[str, Callable[[Scene], Terms]] = {
    "srgan": _srgan,
    "srgan-tv": _srgan_tv,
    "msrgan": _common(1e-2, {34: 1.0}, _vanilla, 5e-3),
    "enhancenet": _enhancenet,
    "esrgan": _common(1e-2, {34: 1.0}, _ragan, 5e-3),
    "kair-msrresnet-gan": _common(1e-2, {34: 1.0}, _ragan_by_position, 5e-3),
    "bsrgan": _common(1.0, {25: 1.0}, _least_squares, 0.1),
    "bsrgan-released": _common(1.0, FIVE, _least_squares, 1.0),
    "real-esrgan": _common(1.0, FIVE, _vanilla, 0.1),
    "swinir-gan": _common(1.0, FIVE, _vanilla, 0.1),
    "ldl": _common(1e-2, FIVE, _ragan, 5e-3, ldl=1.0),
    "ldl-real": _common(1e-2, FIVE, _vanilla, 0.1, ldl=1.0),
    "realbasicvsr": _common(1.0, FIVE, _vanilla, 5e-2),
    "safmn-fft": _safmn_fft,
    "safmn-real": _common(1.0, FIVE, _vanilla, 5e-2, ldl=1.0),
    "wgsr": _wgsr,
}


@pytest.fixture(name="scene")
def _scene() -> Scene:
    return scene()


def _ours(recipe: Recipe, s: Scene) -> Terms:
    """Our terms, weighted, given what the trainer would supply."""
    found: Terms = {}
    for term in recipe.terms:
        loss: Any = losses.build(term.loss, **term.parameters)
        given = {need: _supply(need, loss, s) for need in losses.needs_of(loss)}
        found[term.loss] = term.weight * loss(s.sr, s.hr, **given)
    return found


def _supply(need: str, loss: Any, s: Scene) -> object:
    if need == "features":
        own = loss.source.preprocessing == "own"
        preprocessing = "imagenet" if own else loss.source.preprocessing
        state = getattr(s, loss.source.backbone)
        net = network(loss.source.backbone, state, preprocessing, loss.source.pooling)
        return net.double().compare(s.sr, s.hr, loss.layers)
    return {"discriminator": s.d, "averaged": s.ema, "heads": s.heads}[need]


def _assert_equal(ours: Tensor, theirs: Tensor, sr: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    (by_ours,), (by_theirs,) = (
        torch.autograd.grad(value, sr, retain_graph=True) for value in (ours, theirs)
    )
    floor = 1e-6 * float(by_theirs.abs().max())
    torch.testing.assert_close(by_ours, by_theirs, rtol=1e-6, atol=floor)


@every_recipe
def test_every_term_builds_and_says_its_original_convention(recipe: Recipe) -> None:
    assert recipe.source
    for term in recipe.terms:
        assert isinstance(losses.build(term.loss, **term.parameters), nn.Module)
        assert term.original
        assert term.weight > 0
        assert term.factor > 0


@every_recipe
def test_the_total_and_its_gradient_are_the_originals(recipe: Recipe, scene: Scene) -> None:
    ours, theirs = _ours(recipe, scene), ORIGINALS[recipe.name](scene)
    inexact = {term.loss for term in recipe.terms if term.note}
    assert theirs.keys() == ours.keys() - inexact
    for loss in theirs:
        _assert_equal(ours[loss], theirs[loss], scene.sr)
    total = torch.stack([ours[loss] for loss in theirs]).sum()
    _assert_equal(total, torch.stack(list(theirs.values())).sum(), scene.sr)


def test_the_copied_srgan_pulls_each_logit_the_same_way_by_the_share_its_note_says(
    scene: Scene,
) -> None:
    logits = scene.d(scene.sr).detach().requires_grad_()
    (theirs,) = torch.autograd.grad(torch.mean(1 - torch.sigmoid(logits)), logits)
    (ours,) = torch.autograd.grad(bce(logits, True), logits)
    torch.testing.assert_close(theirs, torch.sigmoid(logits.detach()) * ours)


def test_published_weights_are_ours_over_the_factor() -> None:
    terms = {term.loss: term for term in losses.RECIPES["srgan"].terms}
    assert terms["content"].weight == pytest.approx(0.006, rel=0.03)
    assert terms["content"].weight / terms["content"].factor == pytest.approx(1.0)
    copied = {term.loss: term for term in losses.RECIPES["srgan-tv"].terms}
    assert copied["tv"].weight / copied["tv"].factor == pytest.approx(2e-8)


def test_esrgans_terms_with_a_variation_are_the_reference_sum(
    case: Callable[[str], Any], scene: Scene
) -> None:
    known = case("composite_esrgan_like")
    found = _ours(losses.RECIPES["esrgan"], scene)
    variation = 0.002 * losses.build("tv", form="anisotropic")(scene.sr, scene.hr)
    total = found["l1"] + found["content"] + variation
    known.assert_value(total)
    known.assert_gradient(torch.autograd.grad(total, scene.sr)[0], "sr")
