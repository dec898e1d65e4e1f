"""What a report warns of, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from workers.data.sources import load
from workers.scoring import MediaUnusable, Report, Request, score
from workers.scoring.flags import enhancement_gain, suspected_hack
from workers.scoring.table import Row


def coffee() -> Tensor:
    """A photograph, (3, 240, 320) in 0..1."""
    return load(["package:skimage/data/coffee.png"])[0].pixels[:, :240, :320].double() / 255


def blurred(image: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(image[None], (1, 1, 1, 1), mode="reflect"), 3, stride=1)[0]


def saved(path: Path, image: Tensor) -> Path:
    pixels = image.mul(255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
    Image.fromarray(pixels.numpy()).save(path)
    return path


def flags_of(report: Report) -> dict[str, list[int]]:
    return {flag["flag"]: flag["frames"] for flag in report.flags}


def rows(**columns: list[float]) -> list[Row]:
    values = zip(*columns.values(), strict=True)
    return [
        {"index": k, "name": f"{k}", **dict(zip(columns, line, strict=True))}
        for k, line in enumerate(values)
    ]


def scored(ref: Path, dis: Path, **options: Any) -> Report:
    return score(Request(ref, dis, engine="ffmpeg", **options))


def test_sharpening_beyond_the_original_is_flagged_and_a_blur_is_not(tmp_path: Path) -> None:
    photo = coffee()
    ref = saved(tmp_path / "ref.png", photo)
    soft = saved(tmp_path / "soft.png", blurred(photo))
    sharp = saved(tmp_path / "sharp.png", photo + 1.5 * (photo - blurred(photo)))
    assert set(flags_of(scored(ref, soft))) == {"no_motion"}
    assert set(flags_of(scored(ref, sharp))) == {"no_motion", "enhancement_gain"}


def test_neg_that_rises_while_psnr_and_ssim_fall_is_suspected_against_a_baseline(
    tmp_path: Path,
) -> None:
    photo = coffee()
    ref = saved(tmp_path / "ref.png", photo)
    soft = blurred(blurred(photo))
    base = saved(tmp_path / "base.png", soft)
    # More detail than the blur, and noise: NEG rewards the one, PSNR and SSIM punish the other.
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.06, photo.shape))
    better = saved(tmp_path / "better.png", 0.5 * photo + 0.5 * soft)
    hacked = saved(tmp_path / "hacked.png", 0.5 * photo + 0.5 * soft + noise)
    assert "suspected_hack" in flags_of(scored(ref, hacked, baseline=base))
    assert "suspected_hack" not in flags_of(scored(ref, better, baseline=base))
    assert "suspected_hack" not in flags_of(scored(ref, hacked))


def test_bicubic_as_baseline_needs_the_factor_and_the_original_is_not_suspected(
    tmp_path: Path,
) -> None:
    ref = saved(tmp_path / "ref.png", coffee()[:, :239, :318])
    with pytest.raises(MediaUnusable, match="add --scale"):
        scored(ref, ref, baseline="bicubic")
    report = scored(ref, ref, baseline="bicubic", scale=4)
    assert "suspected_hack" not in flags_of(report)
    assert report.definition["baseline"] == "bicubic"


@pytest.mark.parametrize(
    ("neg", "psnr", "ssim", "suspected"),
    [
        (41.0, 29.0, 0.80, True),
        (41.0, 30.5, 0.80, False),
        (41.0, 29.0, 0.91, False),
        (39.0, 29.0, 0.80, False),
        (40.05, 29.999, 0.8999, False),
    ],
)
def test_a_hack_moves_all_three_by_more_than_noise(
    neg: float, psnr: float, ssim: float, suspected: bool
) -> None:
    mine = rows(vmaf_neg=[neg], psnr_y=[psnr], ssim_y=[ssim])
    base = rows(vmaf_neg=[40.0], psnr_y=[30.0], ssim_y=[0.9])
    assert bool(suspected_hack(mine, base, "bicubic")) is suspected


def test_the_gain_is_flagged_above_three_points_and_names_the_frames() -> None:
    found = enhancement_gain(rows(vmaf=[80.0, 83.0, 83.1], vmaf_neg=[79.0, 80.0, 80.0]))
    assert [flag["frames"] for flag in found] == [[2]]
    assert "1 of 3 frames" in found[0]["message"]
    assert enhancement_gain(rows(vmaf=[83.0], vmaf_neg=[80.0])) == []


def test_small_frames_are_flagged_with_their_size(tmp_path: Path) -> None:
    small = saved(tmp_path / "small.png", coffee()[:, :99, :120])
    large = saved(tmp_path / "large.png", coffee()[:, :100, :120])
    assert set(flags_of(scored(small, small))) == {"no_motion", "small_frames"}
    assert set(flags_of(scored(large, large))) == {"no_motion"}
