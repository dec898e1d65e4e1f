"""Scores over whole images, in tiles where they are large."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.workers import tiny_training as tiny
from workers import metrics, models
from workers.data.pairs import Whole, validation
from workers.data.sources import load
from workers.evaluate import metric_names, samples, score, super_resolve
from workers.suppliers import seeded
from workers.trainer import Diverged


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def images(photos: Path) -> list[Whole]:
    return validation(load([str(photos / "validation")]), 2)


@pytest.fixture(scope="module")
def generator() -> nn.Module:
    return seeded(lambda: models.build("espcn", scale=2), 0).requires_grad_(False)


@pytest.mark.parametrize("tile", [7, 16, 40])
def test_tiled_image_equals_the_whole_one(generator: nn.Module, tile: int) -> None:
    lr = torch.rand(3, 33, 50, generator=torch.Generator().manual_seed(0))
    whole = super_resolve(generator, lr, scale=2)
    tiled = super_resolve(generator, lr, scale=2, tile=tile, margin=8)
    assert whole.shape == (3, 66, 100)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)


def test_tiles_without_margin_have_seams(generator: nn.Module) -> None:
    lr = torch.rand(3, 33, 50, generator=torch.Generator().manual_seed(0))
    whole = super_resolve(generator, lr, scale=2)
    assert (super_resolve(generator, lr, scale=2, tile=16, margin=0) - whole).abs().max() > 1e-3


def test_score_is_the_mean_over_images(generator: nn.Module, images: list[Whole]) -> None:
    twice = [*images, Whole("flipped", images[0].lr.flip(-1), images[0].hr.flip(-1))]
    single = [score(generator, [image], ["psnr_y"], scale=2).means["psnr_y"] for image in twice]
    assert single[0] != single[1]
    assert score(generator, twice, ["psnr_y"], scale=2).means["psnr_y"] == pytest.approx(
        sum(single) / 2
    )


def test_generator_that_makes_nan_has_diverged(images: list[Whole]) -> None:
    broken = seeded(lambda: models.build("espcn", scale=2), 0).requires_grad_(False)
    next(broken.parameters()).fill_(math.nan)
    with pytest.raises(Diverged, match=r"NaN or infinite pixels of chelsea\.png"):
        score(broken, images, ["psnr_y"], scale=2)


def test_rungs_score_objectives_and_what_is_cheap_and_the_end_scores_all(photos: Path) -> None:
    assert metrics.SPECS["vmaf"].cost != "low"
    definition = tiny.define(photos, objectives=["psnr_y", "vmaf_neg"], metrics=["ssim_y", "vmaf"])
    assert metric_names(definition, final=False) == ["psnr_y", "vmaf_neg", "ssim_y"]
    assert metric_names(definition, final=True) == ["psnr_y", "vmaf_neg", "ssim_y", "vmaf"]


def test_samples_show_the_same_place_in_four_versions(
    generator: nn.Module, images: list[Whole]
) -> None:
    (sample,) = samples(generator, images, scale=2, side=32)
    assert sample.lr.shape == (3, 16, 16)
    assert sample.bicubic.shape == sample.sr.shape == sample.hr.shape == (3, 32, 32)
    # Were they of other places, bicubic would be far from HR.
    assert (sample.bicubic - sample.hr).abs().mean() < 0.05
    assert sample.sr.min() >= 0
    assert sample.sr.max() <= 1
