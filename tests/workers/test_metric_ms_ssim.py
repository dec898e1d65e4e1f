"""MS-SSIM is the field's, and says which images are too small for five scales."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from workers import metrics
from workers.metrics._still import Still
from workers.metrics.ms_ssim import ms_ssim

VECTORS = Path(__file__).parents[1] / "vectors" / "metrics"


def test_ms_ssim_is_that_of_pytorch_msssim() -> None:
    case = json.loads((VECTORS / "values.json").read_text())["msssim_pytorch_msssim"]
    arrays = np.load(VECTORS / f"{case['inputs']}.npz")
    # Not rounded to 8 bits, as theirs was not: past `Still.of`, with the border of 0.
    sr, hr = (torch.from_numpy(arrays[key][0]).double() * 255 for key in ("sr", "hr"))
    assert ms_ssim(Still(sr, hr, scale=0)) == pytest.approx(case["value"], rel=1e-7)


def test_equal_images_score_1() -> None:
    image = torch.randint(0, 256, (3, 170, 180), generator=torch.Generator().manual_seed(0))
    scores = metrics.score(["ms_ssim"], [(image.byte(), image.byte())], scale=4)
    assert scores["ms_ssim"] == [pytest.approx(1, abs=1e-12)]


def test_image_too_small_for_five_scales_is_one_sentence() -> None:
    image = torch.zeros(3, 165, 200, dtype=torch.uint8)
    assert metrics.score(["ms_ssim"], [(image, image)], scale=2)["ms_ssim"] == [pytest.approx(1)]
    with pytest.raises(
        metrics.ImageUnusable, match="161 pixels a side inside the border, got 194×159"
    ):
        metrics.score(["ms_ssim"], [(image, image)], scale=3)
