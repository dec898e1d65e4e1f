"""Low resolution is what imresize, Pillow and the field make of high resolution."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from workers.data.degrade import bicubic, enlarge, mod_crop

VECTORS = Path(__file__).parents[1] / "vectors" / "metrics"


def _noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def test_value_and_gradient_are_those_of_the_published_consistency_loss() -> None:
    images = np.load(VECTORS / "images.npz")
    case = json.loads((VECTORS / "values.json").read_text())["consistency_bicubic_antialias"]
    sr = torch.from_numpy(images["sr"]).double().requires_grad_()
    hr = torch.from_numpy(images["hr"]).double()
    loss = (bicubic(sr, 4) - bicubic(hr, 4)).abs().mean()
    (ours,) = torch.autograd.grad(loss, sr)
    gradient = np.load(VECTORS / "bicubic_gradient.npz")["grad_sr"]
    assert loss.item() == pytest.approx(case["value"], rel=case["rtol"])
    np.testing.assert_allclose(ours.numpy(), gradient, atol=1e-6 * np.abs(gradient).max())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_equals_pillow_within_one_grey_level(scale: int) -> None:
    # Kept off black and white, where Pillow clips once more between its passes.
    hr = _noise(24 * scale, 31 * scale) // 2 + 64
    picture = Image.fromarray(hr.permute(1, 2, 0).numpy())
    theirs = np.asarray(picture.resize((31, 24), Image.Resampling.BICUBIC)).astype(int)
    ours = bicubic(hr, scale).permute(1, 2, 0).numpy().astype(int)
    difference = np.abs(ours - theirs)
    assert difference.max() <= 1  # Pillow works in fixed point and rounds between its passes
    assert (difference > 0).mean() < 0.25


def test_aliases_less_than_decimation() -> None:
    columns = torch.arange(64) % 2 * 255
    stripes = columns.to(torch.uint8).expand(3, 64, 64)
    inside = bicubic(stripes, 2)[:, :, 4:-4].float()
    assert inside.std() < 1
    assert stripes[:, ::2, ::2].float().mean() == 0


@given(scale=st.sampled_from([2, 3, 4]), level=st.integers(0, 255))
@settings(max_examples=20, deadline=None)
def test_flat_images_stay_flat(scale: int, level: int) -> None:
    flat = torch.full((3, 12, 24), level, dtype=torch.uint8)
    assert (bicubic(flat, scale) == level).all()
    assert (enlarge(flat, scale) == level).all()


@given(height=st.integers(4, 40), width=st.integers(4, 40), scale=st.sampled_from([2, 3, 4]))
@settings(max_examples=30, deadline=None)
def test_cropped_image_divides_and_loses_less_than_a_step(
    height: int, width: int, scale: int
) -> None:
    cropped = mod_crop(_noise(height, width), scale)
    assert cropped.shape[1] % scale == cropped.shape[2] % scale == 0
    assert height - cropped.shape[1] < scale
    assert width - cropped.shape[2] < scale
    assert bicubic(cropped, scale).shape == (3, height // scale, width // scale)


def test_image_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="mod_crop"):
        bicubic(_noise(9, 8), 2)


def test_uint8_is_the_float_result_rounded_and_clipped() -> None:
    hr = (_noise(32, 32) > 100).to(torch.uint8) * 255
    hr[:, :16, :16] = 255
    unrounded = bicubic(hr.float(), 2)
    assert unrounded.max() > 255  # the cubic overshoots, so clipping has something to do
    assert torch.equal(bicubic(hr, 2), unrounded.round().clamp(0, 255).to(torch.uint8))
