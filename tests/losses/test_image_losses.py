"""Pixel, variation, structure, frequency and artefact losses keep what their descriptions promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import losses
from losses import InvalidParameter, UnsuitableInput
from losses.ldl import artefact_map

Pair = Callable[..., tuple[Tensor, Tensor]]

DERIVATIVES: list[tuple[str, dict[str, Any]]] = [
    ("huber", {}),
    ("huber", {"form": "pseudo"}),
    ("charbonnier", {"form": "shifted"}),
    ("tv", {}),
    ("tv", {"form": "norm"}),
    ("tv", {"form": "squared", "reduction": "plane_sum"}),
    ("gradient_variance", {}),
    ("ssim", {}),
    ("ssim", {"padding": "zero", "channels": "luma"}),
    ("ms_ssim", {"scales": 3, "window": 5}),
    ("ms_ssim", {"scales": 3, "window": 5, "averaging": "batch", "padding": "reflect"}),
    ("ms_ssim_l1", {}),
    ("fft", {"criterion": "magnitude"}),
    ("wavelet", {"family": "db2", "bands": ["LL2", "HH"], "transform": "decimated"}),
    ("wavelet", {"family": "sym19", "channels": "y_studio", "criterion": "l2"}),
    ("ldl", {}),
    ("ldl", {"criterion": "l2"}),
]


@pytest.mark.parametrize(("name", "parameters"), DERIVATIVES)
def test_the_gradient_is_the_derivative(name: str, parameters: dict[str, Any], pair: Pair) -> None:
    sr, hr = pair(size=24, dtype=torch.float64)
    loss = losses.build(name, **parameters)
    averaged = hr + 0.7 * (sr - hr).roll(1, -1)
    given = {"averaged": averaged} if name == "ldl" else {}
    direction = torch.randn(sr.shape, generator=torch.Generator().manual_seed(1)).double()
    (gradient,) = torch.autograd.grad(loss(sr.requires_grad_(), hr, **given), sr)
    with torch.no_grad():
        far = 1e-7
        ahead, behind = (loss(sr + s * far * direction, hr, **given) for s in (1, -1))
    slope = float((gradient * direction).sum())
    assert float(ahead - behind) / (2 * far) == pytest.approx(slope, rel=1e-4)


def test_focal_frequencys_weights_are_constants_to_the_gradient(pair: Pair) -> None:
    sr, hr = pair(n=1, size=8, dtype=torch.float64)
    power = torch.fft.fft2(sr - hr, norm="ortho").abs().square()
    weight = power.sqrt() / power.sqrt().amax(dim=(-2, -1), keepdim=True)
    sr.requires_grad_()
    constant = (weight * torch.fft.fft2(sr - hr, norm="ortho").abs().square()).mean()
    value = losses.build("focal_frequency")(sr, hr)
    torch.testing.assert_close(value, constant)
    torch.testing.assert_close(*(torch.autograd.grad(x, sr)[0] for x in (value, constant)))


@pytest.mark.parametrize(
    ("name", "parameters", "size", "sentence"),
    [
        ("ssim", {}, (10, 40), "10×40 px, but must be at least 11; lower ssim.window"),
        ("ssim", {"padding": "reflect"}, (5, 40), "at least 6; lower ssim.window"),
        ("ms_ssim", {}, (160, 200), "at least 161; lower ms_ssim.scales"),
        ("ms_ssim", {"scales": 3}, (40, 64), "at least 41; lower ms_ssim.scales"),
        ("ldl", {}, (3, 9), "at least 4; lower ldl.window"),
        ("gradient_variance", {}, (7, 9), "at least 8×8 px.*lower gradient_variance.patch"),
        (
            "focal_frequency",
            {"patch_factor": 3},
            (9, 16),
            "patch_factor is 3, which does not divide 9×16",
        ),
        ("tv", {}, (1, 9), "at least 2×2 px"),
    ],
)
def test_images_too_small_are_refused_with_the_least_size_and_a_remedy(
    name: str, parameters: dict[str, Any], size: tuple[int, int], sentence: str
) -> None:
    images = torch.rand(1, 3, *size)
    given = {"averaged": images} if name == "ldl" else {}
    with pytest.raises(UnsuitableInput, match=sentence):
        losses.build(name, **parameters)(images, images, **given)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("ssim", {}),
        ("ms_ssim", {}),
        ("ms_ssim", {"scales": 3}),
        ("gradient_variance", {}),
        ("ldl", {}),
    ],
)
def test_images_of_the_least_size_are_accepted(name: str, parameters: dict[str, Any]) -> None:
    side = {"ssim": 11, "ms_ssim": 41 if parameters else 161, "gradient_variance": 8, "ldl": 4}[
        name
    ]
    sr, hr = torch.rand(2, 1, 3, side, side).unbind()
    given = {"averaged": hr} if name == "ldl" else {}
    assert torch.isfinite(losses.build(name, **parameters)(sr, hr, **given))


@pytest.mark.parametrize(
    ("name", "parameters", "sentence"),
    [
        ("ssim", {"window": 10}, "ssim.window is 10, but must be odd"),
        ("ms_ssim", {"window": 4}, "ms_ssim.window is 4, but must be odd"),
        ("ldl", {"window": 8}, "ldl.window is 8, but must be odd"),
        ("tv", {"form": "norm", "reduction": "mean"}, "tv.reduction is 'mean'.*use image_sum, sum"),
        ("wavelet", {"bands": ["LX"]}, "wavelet.bands has 'LX', but bands are LL, LH, HL, HH"),
        ("wavelet", {"bands": {"LL": -1}}, "wavelet.bands.LL is -1, but must be at least 0"),
        ("wavelet", {"bands": {"LL": 0}}, "only zeros"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    name: str, parameters: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidParameter, match=sentence):
        losses.build(name, **parameters)


def test_a_weight_map_for_variation_without_counts_is_refused(pair: Pair) -> None:
    sr, hr = pair()
    with pytest.raises(
        InvalidParameter, match=r"'isotropic'.*takes no weight map; use anisotropic"
    ):
        losses.build("tv")(sr, hr, weight=torch.ones_like(sr))


def test_a_weight_map_of_another_size_is_refused(pair: Pair) -> None:
    sr, hr = pair()
    with pytest.raises(UnsuitableInput, match="weight map is"):
        losses.build("l1")(sr, hr, weight=torch.ones(2, 2, 16, 16))


def test_ssim_of_luma_is_ssim_of_the_grey_image(pair: Pair) -> None:
    sr, hr = pair(dtype=torch.float64)
    mix = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(1, 3, 1, 1)
    grey = [(x * mix).sum(dim=1, keepdim=True) for x in (sr, hr)]
    torch.testing.assert_close(
        losses.build("ssim", channels="luma")(sr, hr), losses.build("ssim")(*grey)
    )


def test_anticorrelated_images_have_the_greatest_ms_ssim_and_a_finite_gradient() -> None:
    hr = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    sr = (1 - hr).requires_grad_()
    value = losses.build("ms_ssim", scales=2, window=5)(sr, hr)
    (gradient,) = torch.autograd.grad(value, sr)
    assert float(value.detach()) == 1
    assert torch.isfinite(gradient).all()


def test_averages_of_spectra_and_scales_couple_the_batch(pair: Pair) -> None:
    sr, hr = pair(n=2, size=24)
    pairs: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("focal_frequency", {}, {"ave_spectrum": True}),
        ("focal_frequency", {}, {"batch_matrix": True}),
        ("ms_ssim", {"scales": 2}, {"scales": 2, "averaging": "batch"}),
    ]
    for name, plain, coupled in pairs:
        for parameters, together in ((plain, True), (coupled, False)):
            loss = losses.build(name, **parameters)
            mean = (loss(sr[:1], hr[:1]) + loss(sr[1:], hr[1:])) / 2
            assert torch.allclose(loss(sr, hr), mean, rtol=1e-5, atol=0) is together, parameters


def test_opposite_errors_cancel_in_an_average_spectrum() -> None:
    hr = torch.rand(2, 3, 8, 8)
    error = torch.rand(1, 3, 8, 8) * 0.1
    sr = hr + torch.cat([error, -error])
    assert float(losses.build("focal_frequency", ave_spectrum=True)(sr, hr)) < 1e-12
    assert float(losses.build("focal_frequency")(sr, hr)) > 1e-5


def test_gradient_variance_sees_blur_more_the_more_there_is(pair: Pair) -> None:
    _, hr = pair(size=32)
    blurred = [
        torch.nn.functional.avg_pool2d(hr, k, 1, k // 2, count_include_pad=False) for k in (3, 7)
    ]
    little, much = (float(losses.build("gradient_variance")(x, hr)) for x in blurred)
    assert 1e-4 < little < much


def test_no_artefact_is_suspected_where_the_average_is_worse(pair: Pair) -> None:
    sr, hr = pair(dtype=torch.float64)
    worse = hr + 2 * (sr - hr)
    assert float(artefact_map(sr, hr, worse).abs().max()) == 0
    half = torch.cat([worse[..., :8], hr[..., 8:]], dim=-1)
    suspected = artefact_map(sr, hr, half)
    assert float(suspected[..., :8].abs().max()) == 0
    assert float(suspected[..., 8:].min()) > 0


def test_before_an_average_exists_the_artefact_map_is_that_of_the_residual(pair: Pair) -> None:
    sr, hr = pair(dtype=torch.float64)
    itself, perfect = artefact_map(sr, hr, sr), artefact_map(sr, hr, hr)
    torch.testing.assert_close(itself, perfect)
    assert torch.isfinite(losses.build("ldl")(sr, hr, averaged=sr))


def test_the_artefact_map_is_a_constant_to_the_detached_gradient(pair: Pair) -> None:
    sr, hr = pair(dtype=torch.float64)
    suspected = artefact_map(sr, hr, hr)
    sr.requires_grad_()
    detached = losses.build("ldl", gradient="detached")(sr, hr, averaged=hr)
    (gradient,) = torch.autograd.grad(detached, sr)
    torch.testing.assert_close(gradient, suspected * (sr - hr).detach().sign() / sr.numel())
    (through,) = torch.autograd.grad(losses.build("ldl")(sr, hr, averaged=hr), sr)
    assert not torch.allclose(through, gradient, rtol=0.01)


def test_an_average_of_another_size_is_refused(pair: Pair) -> None:
    sr, hr = pair()
    with pytest.raises(UnsuitableInput, match="SR of the average is"):
        losses.build("ldl")(sr, hr, averaged=sr[:1])


def test_an_orthonormal_spectrum_hardly_depends_on_the_patch_and_a_raw_one_does(pair: Pair) -> None:
    small, large = (pair(size=size, n=1) for size in (16, 64))
    ortho, raw = (losses.build("fft", norm=norm) for norm in ("ortho", "backward"))
    assert float(ortho(*large) / ortho(*small)) == pytest.approx(1, abs=0.3)
    assert float(raw(*large) / raw(*small)) == pytest.approx(4, abs=1.2)


def test_band_weights_multiply_their_bands(pair: Pair) -> None:
    sr, hr = pair(dtype=torch.float64)
    alone = {band: losses.build("wavelet", bands=[band])(sr, hr) for band in ("LL", "HH", "LH2")}
    weights = {"LL": 0.5, "HH": 2.0, "LH2": 3.0, "HL": 0.0}
    wanted = 0.5 * alone["LL"] + 2 * alone["HH"] + 3 * alone["LH2"]
    torch.testing.assert_close(losses.build("wavelet", bands=weights)(sr, hr), wanted)
