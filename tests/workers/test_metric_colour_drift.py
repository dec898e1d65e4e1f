"""Colour drift is the size of a tint, and of nothing but a tint."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import rgb2ycbcr
from torch import Tensor

from workers import metrics
from workers.metrics.colour_drift import chroma_shift

Levels = st.tuples(*[st.integers(0, 255)] * 3)


def drift(sr: Tensor, hr: Tensor, scale: int = 2) -> float:
    return metrics.score(["colour_drift"], [(sr, hr)], scale=scale)["colour_drift"][0]


def noise(seed: int, low: int = 0, high: int = 256) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, (3, 40, 36), generator=generator, dtype=torch.uint8)


def flat(levels: tuple[int, ...]) -> Tensor:
    return torch.tensor(levels, dtype=torch.uint8)[:, None, None].expand(3, 12, 12)


@given(sr=Levels, hr=Levels)
def test_drift_of_flat_images_is_the_distance_of_scikit_images_chroma(
    sr: tuple[int, ...], hr: tuple[int, ...]
) -> None:
    ours = drift(flat(sr), flat(hr))
    theirs = rgb2ycbcr(np.array([[sr, hr]], dtype=np.uint8))[0, :, 1:]
    assert ours == pytest.approx(math.dist(*theirs), rel=1e-6, abs=1e-6)


def test_drift_is_that_of_scikit_images_mean_chroma() -> None:
    sr, hr = noise(1), noise(2)
    cut = [image[:, 2:-2, 2:-2].permute(1, 2, 0).numpy() for image in (sr, hr)]
    means = [rgb2ycbcr(image)[..., 1:].mean(axis=(0, 1)) for image in cut]
    assert drift(sr, hr) == pytest.approx(math.dist(*means), rel=1e-6)


@given(step=st.integers(-40, 40), seed=st.integers(0, 5))
def test_light_is_no_colour(step: int, seed: int) -> None:
    hr = noise(seed, 40, 216)
    assert drift((hr.int() + step).to(torch.uint8), hr) == pytest.approx(0, abs=1e-9)


def test_colours_that_cancel_are_no_tint() -> None:
    """Red here and green there by as much is noise of colour; the same red everywhere is a tint."""
    hr = noise(3, 40, 216).int()
    stripes = torch.where(torch.arange(36) % 2 == 0, 10, -10)
    cancelling, tinted = hr.clone(), hr.clone()
    cancelling[0] += stripes
    tinted[0] += 10
    assert drift(cancelling.to(torch.uint8), hr.to(torch.uint8)) == pytest.approx(0, abs=1e-9)
    expected = 10 / 255 * math.hypot(37.797, 112.0)
    assert drift(tinted.to(torch.uint8), hr.to(torch.uint8)) == pytest.approx(expected)


def test_shift_has_the_sign_of_its_colour() -> None:
    hr = torch.full((3, 8, 8), 100.0, dtype=torch.float64)
    red = hr + torch.tensor([20.0, 0, 0], dtype=torch.float64)[:, None, None]
    blueness, redness = chroma_shift(red, hr).tolist()
    assert blueness < 0 < redness
