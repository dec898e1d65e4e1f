"""VMAF of stills, by the pinned ffmpeg, equals libvmaf's reference build."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from workers import metrics
from workers.data.sources import load
from workers.metrics import vmaf

VECTORS = Path(__file__).parents[1] / "vectors" / "metrics"
CASES: dict[str, dict[str, float]] = json.loads((VECTORS / "vmaf_stills.json").read_text())
BOTH = ["vmaf", "vmaf_neg"]


def _clips(case: str) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Two consecutive frames, distorted and reference."""
    arrays = np.load(VECTORS / "vmaf_stills.npz")
    dis, ref = (torch.from_numpy(arrays[f"{case}.{kind}"]) for kind in ("dis", "ref"))
    return list(dis), list(ref)


def _scores(sr: list[torch.Tensor], hr: list[torch.Tensor]) -> list[dict[str, float]]:
    both = vmaf.luma_scores(sr, hr, engine="ffmpeg")
    return [{name: scores[name] for name in BOTH} for scores in both]


@pytest.mark.parametrize("case", CASES)
def test_still_scores_as_the_reference_build_scores_a_frame_without_motion(case: str) -> None:
    dis, ref = _clips(case)
    (scores,) = _scores(dis[:1], ref[:1])
    assert scores == pytest.approx(CASES[case], abs=0.01)


def test_stills_scored_together_do_not_move() -> None:
    dis, ref = _clips("carphone_h264")
    together = _scores(dis, ref)
    alone = [_scores([d], [r])[0] for d, r in zip(dis, ref, strict=True)]
    assert together == alone
    assert together[0] == pytest.approx(CASES["carphone_h264"], abs=0.01)


def test_many_images_are_cut_into_several_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    dis, ref = _clips("tiny33x33_blur")
    whole = _scores(dis * 3, ref * 3)
    monkeypatch.setattr(vmaf, "_PIXELS_AT_ONCE", 4 * 33 * 33)
    assert _scores(dis * 3, ref * 3) == whole


def test_images_of_several_sizes_keep_their_order() -> None:
    photo = load(["package:skimage/data/coffee.png"])[0].pixels
    crops = [photo[:, 50 : 50 + h, 60 : 60 + w] for h, w in ((40, 51), (64, 48), (40, 51))]
    pairs = [(crop // 2 + 30 * k, crop) for k, crop in enumerate(crops)]
    together = metrics.score(BOTH, pairs, scale=2)
    alone = [metrics.score(BOTH, [pair], scale=2) for pair in pairs]
    assert together == {name: [scores[name][0] for scores in alone] for name in BOTH}


def test_sharpening_beyond_the_original_pays_in_vmaf_and_not_in_neg() -> None:
    photo = load(["package:skimage/data/coffee.png"])[0].pixels[:, :240, :320].float() / 255
    local = torch.nn.functional.avg_pool2d(photo, 3, stride=1, padding=1)
    blurred = torch.nn.functional.avg_pool2d(local, 3, stride=1, padding=1)
    sharpened = blurred + 1.5 * (blurred - torch.nn.functional.avg_pool2d(blurred, 5, 1, 2))
    scores = metrics.score(BOTH, [(blurred, photo), (sharpened, photo)], scale=2)
    gain = [x - y for x, y in zip(scores["vmaf"], scores["vmaf_neg"], strict=True)]
    assert gain[0] < 3 < gain[1]


def test_equal_stills_score_below_100_for_want_of_motion() -> None:
    photo = load(["package:skimage/data/coffee.png"])[0].pixels[:, :101, :133]
    assert metrics.score(["vmaf"], [(photo, photo)], scale=2)["vmaf"] == pytest.approx(
        [97.428], abs=0.01
    )


def test_image_below_33_pixels_is_refused() -> None:
    small = torch.zeros(3, 32, 64, dtype=torch.uint8)
    with pytest.raises(metrics.ImageUnusable, match="33 pixels"):
        metrics.score(["vmaf"], [(small, small)], scale=2)


def test_ffmpeg_that_is_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    with pytest.raises(metrics.MetricUnavailable, match=r"brings imageio-ffmpeg==0\.8\.1"):
        metrics.score(["vmaf_neg"], [(image, image)], scale=2)


def test_ffmpeg_without_libvmaf_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "ffmpeg"
    other.write_text("#!/bin/sh\necho 'No such filter: libvmaf' >&2\nexit 1\n")
    other.chmod(other.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(other))
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    with pytest.raises(metrics.MetricUnavailable, match="No such filter: libvmaf"):
        metrics.score(["vmaf_neg"], [(image, image)], scale=2)
