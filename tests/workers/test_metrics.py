"""Scores equal what the field's own code computes, and behave as their definitions say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from service.contract.vocabulary import MetricInfo
from workers import metrics
from workers.data.pairs import validation
from workers.data.sources import load
from workers.metrics.mdsi import mdsi
from workers.metrics.psnr import CAP, psnr
from workers.metrics.ssim import ssim

VECTORS = Path(__file__).parents[1] / "vectors" / "metrics"
VALUES: dict[str, dict[str, Any]] = json.loads((VECTORS / "values.json").read_text())
OF_VMAF = {"vmaf", "vmaf_neg", "adm2", "motion2", *(f"vif_scale{k}" for k in range(4))}
IN_TORCH = [name for name in metrics.SPECS if name not in OF_VMAF]
EVERY = pytest.mark.parametrize("spec", metrics.SPECS.values(), ids=lambda spec: spec.name)


def _images(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    arrays = np.load(VECTORS / f"{name}.npz")
    return torch.from_numpy(arrays["sr"]), torch.from_numpy(arrays["hr"])


def _u8() -> tuple[torch.Tensor, torch.Tensor]:
    sr, hr = _images("images_u8")
    return sr.permute(2, 0, 1), hr.permute(2, 0, 1)


def _noise(height: int = 40, width: int = 36, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def _one(name: str, sr: torch.Tensor, hr: torch.Tensor, scale: int = 2) -> float:
    return metrics.score([name], [(sr, hr)], scale=scale)[name][0]


def test_the_catalogue_is_complete() -> None:
    expected = {"psnr_y", "psnr_rgb", "ssim_y", "ssim_rgb", "mdsi", "hf_energy_error"}
    assert set(metrics.SPECS) == expected | OF_VMAF


def test_psnr_y_is_that_of_basicsr() -> None:
    case = VALUES["metric_psnr_y_crop4"]
    assert _one("psnr_y", *_u8(), scale=4) == pytest.approx(case["value"], rel=1e-7)


@pytest.mark.parametrize("scale", [2, 4])
def test_psnr_y_is_not_that_of_swapped_channels(scale: int) -> None:
    wrong = VALUES["metric_psnr_y_wrong_channel_order"]["value"]
    assert abs(_one("psnr_y", *_u8(), scale=scale) - wrong) > 0.1


def test_ssim_y_is_that_of_basicsr() -> None:
    case = VALUES["metric_ssim_y_crop4"]
    assert _one("ssim_y", *_u8(), scale=4) == pytest.approx(case["value"], rel=1e-7)


def test_psnr_of_rgb_is_that_of_basicsr() -> None:
    sr, hr = (image.double()[:, :, 4:-4, 4:-4] for image in _images("images"))
    ours = [psnr(x, y, peak=1) for x, y in zip(sr, hr, strict=True)]
    case = VALUES["metric_psnr_pt_rgb"]  # which adds 1e-8 to the mean square
    assert ours == pytest.approx(case["value"], rel=case["rtol"])


def test_ssim_of_rgb_is_that_of_piq() -> None:
    sr, hr = (image[0].double() for image in _images("images_large"))
    case = VALUES["ssim_piq"]
    assert ssim(sr, hr, peak=1) == pytest.approx(case["value"], rel=1e-9)


def test_mdsi_is_that_of_piq() -> None:
    sr, hr = (image[0].double() * 255 for image in _images("images_large"))
    case = VALUES["metric_mdsi_piq"]
    assert mdsi(sr, hr) == pytest.approx(case["value"], rel=2e-6)  # theirs is in float32
    assert abs(mdsi(hr, sr) - case["value"]) > 0.01  # lost edges are not new edges


def test_mdsi_of_large_images_is_that_of_averaged_ones() -> None:
    sr, hr = (torch.rand(3, 400, 450, dtype=torch.float64) * 255 for _ in range(2))
    small = [F.avg_pool2d(image, 2) for image in (sr, hr)]
    assert mdsi(sr, hr) == pytest.approx(mdsi(*small), rel=1e-12)


@pytest.mark.parametrize("name", IN_TORCH)
def test_equal_images_get_the_best_score(name: str) -> None:
    image = _noise()
    best = {"psnr_y": CAP, "psnr_rgb": CAP, "ssim_y": 1.0, "ssim_rgb": 1.0}.get(name, 0.0)
    assert _one(name, image.float() / 255, image) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("name", IN_TORCH)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_images_get_finite_scores(name: str, level: int) -> None:
    flat = torch.full((3, 40, 40), level, dtype=torch.uint8)
    assert np.isfinite(_one(name, _noise(40, 40), flat))
    assert np.isfinite(_one(name, flat, _noise(40, 40)))
    assert np.isfinite(_one(name, flat, flat))


@pytest.mark.parametrize("name", IN_TORCH)
def test_more_distortion_gets_a_worse_score(name: str) -> None:
    hr = load(["package:skimage/data/coffee.png"])[0].pixels[:, 100:228, 200:328]
    noise = torch.randn(hr.shape, generator=torch.Generator().manual_seed(1))
    images = [hr.float() / 255 + sigma * noise for sigma in (0.0, 0.02, 0.06, 0.2)]
    scores = metrics.score([name], [(sr, hr) for sr in images], scale=2)[name]
    sign = 1 if metrics.SPECS[name].direction == "maximize" else -1
    assert scores == sorted(scores, key=lambda value: -sign * value)
    assert len(set(scores)) == 4


@pytest.mark.parametrize("name", IN_TORCH)
def test_border_of_scale_pixels_does_not_count(name: str) -> None:
    sr, hr = _noise(seed=1), _noise(seed=2)
    spoilt = sr.clone()
    spoilt[:, :3] = spoilt[:, -3:] = 0
    spoilt[:, :, :3] = spoilt[:, :, -3:] = 255
    assert _one(name, spoilt, hr, scale=3) == _one(name, sr, hr, scale=3)
    assert _one(name, spoilt, hr, scale=2) != _one(name, sr, hr, scale=2)


@given(shift=st.floats(-0.49, 0.49), seed=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_what_rounds_to_the_same_bytes_scores_the_same(shift: float, seed: int) -> None:
    sr, hr = _noise(24, 24, seed), _noise(24, 24, seed + 100)
    names = ["psnr_y", "ssim_rgb", "mdsi", "hf_energy_error"]
    moved = (sr.double() + shift) / 255
    assert metrics.score(names, [(moved, hr)], scale=2) == metrics.score(names, [(sr, hr)], scale=2)


def test_images_are_scored_one_by_one() -> None:
    pairs = [(_noise(30 + k, 40, k), _noise(30 + k, 40, k + 9)) for k in range(3)]
    together = metrics.score(IN_TORCH, pairs, scale=2)
    for k, pair in enumerate(pairs):
        alone = metrics.score(IN_TORCH, [pair], scale=2)
        assert {name: scores[k] for name, scores in together.items()} == {
            name: scores[0] for name, scores in alone.items()
        }


def test_scores_come_under_the_names_asked_for() -> None:
    pair = (_noise(seed=1), _noise(seed=2))
    scores = metrics.score(["ssim_y", "psnr_y"], [pair, pair], scale=2)
    assert list(scores) == ["ssim_y", "psnr_y"]
    assert metrics.score(["psnr_y"], [], scale=2) == {"psnr_y": []}


def test_perception_opposes_distortion_on_photographs() -> None:
    """Bicubic wins PSNR against the same image with noise of the missing strength, and loses
    high-frequency energy: the trade-off that the second objective is there for."""
    photo = load(["package:skimage/data/astronaut.png"])
    (whole,) = validation(photo, 4)
    smooth = F.interpolate(whole.lr[None], whole.hr.shape[1:], mode="bicubic", antialias=True)[
        0
    ].clamp(0, 1)
    noise = torch.randn(smooth.shape, generator=torch.Generator().manual_seed(0))
    pairs = [(smooth, whole.hr), (smooth + 0.02 * noise, whole.hr)]
    scores = metrics.score(["psnr_y", "hf_energy_error"], pairs, scale=4)
    assert scores["psnr_y"][0] > scores["psnr_y"][1] + 0.2
    assert scores["hf_energy_error"][0] > scores["hf_energy_error"][1] + 2
    assert scores["hf_energy_error"][0] > 5


def test_energy_error_of_halved_detail_is_six_decibels() -> None:
    """Stripes at the highest frequency, far above the floor: amplitude 1/2 is energy 1/4."""
    stripes = (torch.arange(68) % 2).double().expand(3, 68, 68)
    full, half = 0.5 + 0.4 * (stripes - 0.5), 0.5 + 0.2 * (stripes - 0.5)
    full, half = (full * 255).round() / 255, (half * 255).round() / 255
    assert _one("hf_energy_error", half, full) == pytest.approx(20 * np.log10(2), abs=0.1)
    assert _one("hf_energy_error", full, half) == pytest.approx(20 * np.log10(2), abs=0.1)


def test_energy_error_ignores_what_lr_carries() -> None:
    """Waves of 16 pixels: LR at scale 2 has them, so their strength (9.5 dB apart) is no detail."""
    wave = torch.sin(torch.arange(68, dtype=torch.float64) * 2 * torch.pi / 16).expand(3, 68, 68)
    assert _one("hf_energy_error", 0.5 + 0.1 * wave, 0.5 + 0.3 * wave) < 0.5


def test_energy_error_treats_rows_and_columns_alike() -> None:
    sr, hr = _noise(48, 48, 1) // 8 * torch.arange(48, dtype=torch.uint8) // 24, _noise(48, 48, 2)
    upright = _one("hf_energy_error", sr, hr)
    assert _one("hf_energy_error", sr.mT, hr.mT) == pytest.approx(upright, rel=1e-5)


@EVERY
def test_definition_is_written_down(spec: MetricInfo) -> None:
    assert len(spec.summary) > 60
    assert "border" in spec.summary or "whole image" in spec.summary


def test_unknown_metric_is_one_sentence() -> None:
    with pytest.raises(metrics.UnknownMetric, match="did you mean `psnr_y`"):
        metrics.score(["psnr_x"], [], scale=2)


@pytest.mark.parametrize(
    ("sr", "hr", "sentence"),
    [
        (torch.zeros(3, 8, 9), torch.zeros(3, 8, 8), "one size"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), "one size"),
        (torch.zeros(3, 4, 9), torch.zeros(3, 4, 9), "nothing is left"),
        (torch.full((3, 8, 8), torch.nan), torch.zeros(3, 8, 8), "diverged"),
    ],
)
def test_image_that_cannot_be_scored_is_one_sentence(
    sr: torch.Tensor, hr: torch.Tensor, sentence: str
) -> None:
    with pytest.raises(metrics.ImageUnusable, match=f"image 2: .*{sentence}"):
        metrics.score(["psnr_y"], [(_noise(), _noise()), (sr, hr)], scale=2)


@pytest.mark.parametrize("name", ["ssim_y", "hf_energy_error"])
def test_image_too_small_for_the_window_is_one_sentence(name: str) -> None:
    with pytest.raises(metrics.ImageUnusable, match="pixels a side"):
        _one(name, _noise(9, 9), _noise(9, 9))
