"""Scores of blurred photographs equal what the field's own programs gave for the same bytes.

tests/vectors/metrics/photographs.json has their numbers, versions and conventions; the photographs are
scikit-image's, made smaller and larger again by Pillow, whose arithmetic is of whole numbers.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from workers import metrics, weights

VECTORS = Path(__file__).parents[1] / "vectors" / "metrics"
CASES: dict[str, dict[str, Any]] = json.loads((VECTORS / "photographs.json").read_text())["cases"]
EACH = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
#: BasicSR goes through float32 on its way to Y.
TOLERANCES = {"psnr_y": 1e-7, "ssim_y": 1e-7, "st_lpips": 1e-5}


def blurred(case: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return (sr, hr), uint8 (3, H, W): a part of a photograph after a round trip, and as it is."""
    found = importlib.util.find_spec("skimage")
    assert found is not None
    assert found.origin is not None
    left, top, width, height = (case[key] for key in ("left", "top", "width", "height"))
    with Image.open(Path(found.origin).parent / "data" / case["photo"]) as image:
        hr = image.convert("RGB").crop((left, top, left + width, top + height))
    small = hr.resize((width // case["scale"], height // case["scale"]), Image.Resampling.BICUBIC)
    sr = small.resize((width, height), Image.Resampling.BICUBIC)
    return _bytes(sr), _bytes(hr)


def _bytes(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@EACH
@pytest.mark.parametrize("name", ["psnr_y", "psnr_rgb", "ssim_y", "ssim_rgb", "ms_ssim", "mdsi"])
def test_score_is_that_of_the_peers(name: str, case: dict[str, Any]) -> None:
    (ours,) = metrics.score([name], [blurred(case)], scale=case["scale"])[name]
    assert ours == pytest.approx(case[name], rel=TOLERANCES.get(name, 1e-12))


@EACH
def test_st_lpips_is_that_of_its_authors(case: dict[str, Any]) -> None:
    _fetched()
    (ours,) = metrics.score(["st_lpips"], [blurred(case)], scale=case["scale"])["st_lpips"]
    assert ours == pytest.approx(case["st_lpips"], rel=TOLERANCES["st_lpips"])


def test_st_lpips_tolerates_a_shift_that_psnr_does_not() -> None:
    """One pixel to the side is worse than a round trip over half the size by PSNR, but not to people."""
    _fetched()
    sr, hr = blurred({**CASES["chelsea_x2"], "width": 96, "height": 96})
    scores = metrics.score(["psnr_y", "st_lpips"], [(hr.roll(1, -1), hr), (sr, hr)], scale=2)
    assert scores["psnr_y"][0] < scores["psnr_y"][1]
    assert scores["st_lpips"][0] < scores["st_lpips"][1] / 10


def _fetched() -> None:
    try:
        weights.path("st_lpips_vgg16")
    except weights.WeightsUnavailable as error:
        pytest.skip(str(error))
