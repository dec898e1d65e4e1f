"""LR consistency asks whether SR, shrunk again, is its LR."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import losses
from workers import metrics
from workers.data.pairs import Whole, validation
from workers.data.sources import load
from workers.metrics._still import Still
from workers.metrics.lr_consistency import lr_consistency

NAME = "lr_consistency"


@pytest.fixture(scope="module")
def photo() -> Whole:
    (whole,) = validation(load(["package:skimage/data/chelsea.png"]), 3)
    return Whole("part", whole.lr[:, :30, :40], whole.hr[:, :90, :120])


def consistency(sr: Tensor, hr: Tensor, scale: int, lr: Tensor | None = None) -> float:
    lrs = None if lr is None else [lr]
    return metrics.score([NAME], [(sr, hr)], scale=scale, lrs=lrs)[NAME][0]


def test_whole_photograph_agrees_with_the_lr_it_was_trained_from() -> None:
    (whole,) = validation(load(["package:skimage/data/chelsea.png"]), 3)
    assert consistency(whole.hr, whole.hr, 3, whole.lr) == 0


def test_score_is_the_mean_difference_of_what_pillow_shrinks(photo: Whole) -> None:
    noise = torch.randint(-20, 21, photo.hr.shape, generator=torch.Generator().manual_seed(0))
    sr = (photo.hr.int() + noise).clamp(0, 255).to(torch.uint8)
    small = [
        np.array(
            Image.fromarray(image.permute(1, 2, 0).numpy()).resize(
                (40, 30), Image.Resampling.BICUBIC
            )
        ).astype(float)
        for image in (sr, photo.hr)
    ]
    theirs = np.abs(small[0] - small[1]).mean()
    # Pillow weighs in fixed point, which moves a pixel in a hundred by one.
    assert theirs > 1
    assert consistency(sr, photo.hr, 3) == pytest.approx(theirs, rel=0.01)


def test_score_is_the_loss_apart_from_rounding(photo: Whole) -> None:
    noise = torch.randint(-60, 61, photo.hr.shape, generator=torch.Generator().manual_seed(0))
    sr = (photo.hr.int() + noise).clamp(0, 255).to(torch.uint8)
    loss = losses.build(NAME)(sr[None] / 255, photo.hr[None] / 255, lr=photo.lr[None])
    assert loss.item() * 255 > 5
    assert consistency(sr, photo.hr, 3, photo.lr) == pytest.approx(loss.item() * 255, rel=0.01)


def test_lr_that_is_given_is_what_counts(photo: Whole) -> None:
    brighter = (photo.lr * 255 + 7).round().clamp(max=255) / 255
    assert consistency(photo.hr, photo.hr, 3) == 0
    assert consistency(photo.hr, photo.hr, 3, brighter) > 6
    as_bytes = (brighter * 255).round().to(torch.uint8)
    assert consistency(photo.hr, photo.hr, 3, brighter) == consistency(
        photo.hr, photo.hr, 3, as_bytes
    )


def test_fractions_of_code_values_are_rounded_not_cut(photo: Whole) -> None:
    hr = photo.hr.double()
    assert lr_consistency(Still(hr - 0.4, hr, scale=3)) == 0


def test_detail_that_lr_cannot_carry_is_consistent(photo: Whole) -> None:
    """A checkerboard vanishes on the way down: any detail beyond LR's reach is allowed."""
    rows, columns = torch.meshgrid(torch.arange(90), torch.arange(120), indexing="ij")
    board = ((rows + columns) % 2 * 2 - 1) * 12
    hr = photo.hr.int().clamp(20, 235)
    sr = (hr + board).to(torch.uint8)
    scores = metrics.score([NAME, "psnr_y"], [(sr, hr.to(torch.uint8))], scale=3)
    assert scores["psnr_y"][0] < 30
    assert scores[NAME][0] < 0.5


@pytest.mark.parametrize(
    ("side", "lr", "sentence"),
    [
        (91, (3, 30, 40), "needs sides that the scale divides"),
        (90, (3, 31, 40), r"LR is \(3, 31, 40\), SR shrunk by 3 is \(3, 30, 40\)"),
    ],
)
def test_sizes_that_do_not_fit_are_one_sentence(
    side: int, lr: tuple[int, ...], sentence: str
) -> None:
    image = torch.zeros(3, side, 120)
    with pytest.raises(metrics.ImageUnusable, match=sentence):
        consistency(image, image, 3, torch.zeros(lr))
