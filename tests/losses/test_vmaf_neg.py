"""The VMAF-NEG loss is libvmaf's score on natural images, with a gradient one can follow."""

from __future__ import annotations

import io
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import losses
from losses import UnsuitableInput
from losses.vmaf_neg import VmafNeg

VECTORS = Path(__file__).parents[1] / "vectors" / "vmaf"
CASES: dict[str, dict[str, Any]] = json.loads((VECTORS / "cases.json").read_text())
#: Patterns on which libvmaf's own floating point is up to a point off, and frames too large to hurry.
APART = {"extreme", "1080p", "flat"}
NATURAL = [
    name
    for name, case in CASES.items()
    if case["bits"] == 8 and not APART & set(case["tags"]) and "1080" not in name
]
#: The score of equal images without motion.
MOTIONLESS = 97.42804


def _frames(file: str) -> Tensor:
    pixels = np.load(io.BytesIO(lzma.decompress((VECTORS / file).read_bytes())))
    return torch.from_numpy(pixels.astype(np.float32))[:, None] / 255


def _loss() -> VmafNeg:
    loss = losses.build("vmaf_neg")
    assert isinstance(loss, VmafNeg)
    return loss


def _pair(case: str, frame: int = 0) -> tuple[Tensor, Tensor]:
    dis, ref = (_frames(CASES[case][kind])[frame : frame + 1] for kind in ("dis", "ref"))
    return dis, ref


@pytest.mark.parametrize("case", NATURAL)
def test_every_frame_of_a_clip_scores_within_a_tenth_of_a_point(case: str) -> None:
    expected = CASES[case]["scores"]["vmaf_neg"][:3]
    dis, ref = (_frames(CASES[case][kind]) for kind in ("dis", "ref"))
    for k, wanted in enumerate(expected):
        around = {
            "previous": ref[k - 1 : k] if k else None,
            "following": ref[k + 1 : k + 2] if k + 1 < len(ref) else None,
        }
        score = float(_loss().scores(dis[k : k + 1], ref[k : k + 1], **around))
        # The metric is clipped to 100, the loss is not.
        assert min(score, 100) == pytest.approx(wanted, abs=0.1)


def test_value_is_what_is_missing_to_a_score_of_100() -> None:
    dis, ref = _pair("src01_x2_bicubic")
    assert float(_loss()(dis, ref)) == pytest.approx(
        1 - CASES["src01_x2_bicubic"]["scores"]["vmaf_neg"][0] / 100, abs=1e-3
    )


@pytest.mark.parametrize("case", ["src01_x4_bicubic", "carphone_h264", "bsds_x3", "text_x3"])
def test_gradient_predicts_what_small_changes_do(case: str) -> None:
    dis, ref = (z.double()[..., :144, :160] for z in _pair(case))
    dis.requires_grad_()
    (gradient,) = torch.autograd.grad(_loss()(dis, ref), dis)
    generator = torch.Generator().manual_seed(0)
    for smooth in (1, 3, 7):
        step = torch.randn(dis.shape, generator=generator, dtype=torch.float64)
        step = torch.nn.functional.avg_pool2d(step, smooth, 1, smooth // 2)
        predicted = float((gradient * step).sum())
        for size in (1e-2, 1e-3):
            with torch.no_grad():
                ahead, behind = (_loss()(dis + side * size / 255 * step, ref) for side in (1, -1))
            found = float(ahead - behind) / (2 * size / 255)
            # Directions the score hardly depends on have no ratio worth the name.
            if abs(predicted) > 0.2 * float(gradient.norm() * step.square().mean().sqrt()):
                assert 0.8 < found / predicted < 1.25


def test_descent_gains_what_the_exact_metric_also_sees() -> None:
    from workers.metrics.vmaf import Clip

    dis, ref = (z[..., :128, :128] for z in _pair("src01_x4_bicubic"))
    moved = dis.clone().requires_grad_()
    optimizer = torch.optim.Adam([moved], lr=2 / 255)
    for _ in range(8):
        optimizer.zero_grad()
        _loss()(moved, ref).backward()
        optimizer.step()

    def exact(images: Tensor) -> float:
        clip = Clip(still=True)
        clip.add(*(z.detach().mul(255).round().clamp(0, 255).byte() for z in (ref, images)))
        return clip.scores().frames["vmaf_neg"][0]

    assert exact(moved) > exact(dis) + 2


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_flat_black_and_equal_images_have_a_finite_gradient(level: float) -> None:
    flat = torch.full((1, 3, 48, 48), level)
    photo = _pair("carphone_h264")[1].expand(-1, 3, -1, -1)[..., :48, :48]
    for sr, hr in ((flat, flat), (flat, photo), (photo, flat), (photo, photo)):
        moved = sr.clone().requires_grad_()
        value = _loss()(moved, hr)
        (gradient,) = torch.autograd.grad(value, moved)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


def test_equal_images_score_as_the_metric_scores_stills() -> None:
    _, ref = _pair("carphone_h264")
    assert float(_loss().scores(ref, ref)) == pytest.approx(MOTIONLESS, abs=0.02)


def test_enhancement_does_not_pay() -> None:
    _, ref = _pair("src01_x2_bicubic")
    strengthened = (ref.mean() + 1.2 * (ref - ref.mean())).clamp(0, 1)
    assert float(_loss().scores(strengthened, ref)) < MOTIONLESS - 5


def test_what_lies_beyond_black_and_white_is_scored_as_it_would_be_saved() -> None:
    dis, ref = _pair("text_x3")
    beyond = torch.where(dis > 0.9, dis + 3, dis)
    torch.testing.assert_close(_loss()(beyond, ref), _loss()(beyond.clamp(0, 1), ref))


def test_colour_counts_by_its_luma() -> None:
    sr, hr = (torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
    weights = torch.tensor([65.481, 128.553, 24.966]).view(3, 1, 1) / 255
    luma = [(z * weights).sum(1, keepdim=True) + 16 / 255 for z in (sr, hr)]
    torch.testing.assert_close(_loss()(sr, hr), _loss()(*luma), rtol=1e-4, atol=1e-5)
    other = losses.build("vmaf_neg", luma="bt709")(sr, hr)
    assert abs(float(other - _loss()(sr, hr))) > 1e-4


def test_motion_is_the_lesser_of_before_and_after_and_pays() -> None:
    _, ref = _pair("carphone_h264")
    moved = [ref.roll(k, -1) for k in (1, 4)]
    still = float(_loss().scores(ref, ref))
    scores = [
        float(_loss().scores(ref, ref, previous=a, following=b)) for a, b in (moved, moved[::-1])
    ]
    assert scores[0] == scores[1] == float(_loss().scores(ref, ref, previous=moved[0]))
    assert scores[0] > still + 0.5
    assert float(_loss().scores(ref, ref, following=moved[0])) == still


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [((1, 3, 15, 40), "at least 16"), ((1, 2, 40, 40), r"3 channels \(RGB\) or 1 \(luma\), not 2")],
)
def test_images_it_cannot_judge_are_one_sentence(shape: tuple[int, ...], sentence: str) -> None:
    images = torch.rand(shape)
    with pytest.raises(UnsuitableInput, match=sentence):
        _loss()(images, images)
