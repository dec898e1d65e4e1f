"""VMAF from its parts equals libvmaf, however a clip is cut, and says what it will not score."""

from __future__ import annotations

import io
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from losses._vmaf import MODELS, Model, UnknownModel
from workers import metrics
from workers.data.sources import load
from workers.metrics import vmaf
from workers.metrics.vmaf import Clip, FramesUnusable, Scores, fusion

VECTORS = Path(__file__).parents[1] / "vectors" / "vmaf"
CASES: dict[str, dict[str, Any]] = json.loads((VECTORS / "cases.json").read_text())
FEATURES = ["adm2", *(f"vif_scale{scale}" for scale in range(4))]
SMALL_CLIPS = ["carphone_freeze_jpeg", "odd175x143_x2", "tiny34x48_blur"]


def _frames(file: str) -> Tensor:
    pixels = np.load(io.BytesIO(lzma.decompress((VECTORS / file).read_bytes())))
    return torch.from_numpy(pixels)[:, None]


def _pair(case: str) -> tuple[Tensor, Tensor]:
    return _frames(CASES[case]["ref"]), _frames(CASES[case]["dis"])


def _scores(ref: Tensor, dis: Tensor, **settings: Any) -> Scores:
    clip = Clip(**settings)
    clip.add(ref, dis)
    return clip.scores()


def _noise(count: int, height: int, width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 1, height, width)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("case", CASES)
def test_every_number_of_every_frame_is_libvmafs(case: str) -> None:
    expected = CASES[case]["scores"]
    ref, dis = _pair(case)
    frames = _scores(ref, dis, bits=CASES[case]["bits"], models=MODELS).frames
    for name in FEATURES:
        assert frames[name] == pytest.approx(expected[name], abs=1e-9)
        assert frames[f"{name}_neg"] == pytest.approx(expected[f"{name}_egl_1"], abs=1e-9)
    assert frames["motion2"] == pytest.approx(expected["motion2"], abs=1e-9)
    for model in ("vmaf", "vmaf_neg", "vmaf_4k", "vmaf_4k_neg"):
        assert frames[model] == pytest.approx(expected[model], abs=1e-6)


@pytest.mark.parametrize("case", SMALL_CLIPS)
def test_a_clip_in_pieces_is_the_whole_clip(case: str) -> None:
    ref, dis = _pair(case)
    whole = _scores(ref, dis).frames
    for size in (1, 2):
        clip = Clip()
        for k in range(0, len(ref), size):
            clip.add(ref[k : k + size], dis[k : k + size])
        assert clip.scores().frames == whole


@given(
    height=st.integers(33, 70),
    width=st.integers(33, 90),
    count=st.integers(1, 3),
    pixels=st.sampled_from([1, 500, 5000, 10**7]),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_how_much_is_worked_on_at_a_time_changes_no_bit(
    height: int, width: int, count: int, pixels: int, seed: int
) -> None:
    ref, dis = (_noise(count, height, width, seed + k) for k in range(2))
    assert _scores(ref, dis, pixels=pixels) == _scores(ref, dis)


@given(height=st.integers(33, 60), width=st.integers(33, 60), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_a_batch_of_stills_scores_as_each_does_alone(height: int, width: int, seed: int) -> None:
    ref, dis = (_noise(3, height, width, seed + k) for k in range(2))
    together = _scores(ref, dis, still=True).frames
    alone = [_scores(ref[k : k + 1], dis[k : k + 1], still=True).frames for k in range(3)]
    for name, values in together.items():
        # The models sum 211 products, in an order that may depend on how many frames there are.
        exact = 1e-9 if name in ("vmaf", "vmaf_neg") else 0
        assert [one[name][0] for one in alone] == pytest.approx(values, rel=0, abs=exact)


@given(height=st.integers(33, 60), width=st.integers(33, 60), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_equal_frames_lose_nothing(height: int, width: int, seed: int) -> None:
    ref = _noise(2, height, width, seed)
    scores = _scores(ref, ref.clone()).frames
    for name in FEATURES:
        assert scores[name] == pytest.approx([1, 1], abs=1e-4)
    assert scores["vmaf"] == pytest.approx(scores["vmaf_neg"], abs=1e-2)
    assert scores["vmaf"][0] == pytest.approx(97.43, abs=0.01)


@given(
    height=st.integers(17, 30).map(lambda half: 2 * half),
    width=st.integers(33, 60),
    seed=st.integers(0, 99),
)
@settings(max_examples=10, deadline=None)
def test_vif_at_full_size_and_motion_do_not_see_which_way_is_left(
    height: int, width: int, seed: int
) -> None:
    """Coarser scales keep even columns, and wavelets have unlike borders: those do see it."""
    ref, dis = (_noise(2, height, width, seed + k) for k in range(2))
    straight, mirrored = _scores(ref, dis).frames, _scores(ref.flip(-1), dis.flip(-1)).frames
    assert mirrored["vif_scale0"] == straight["vif_scale0"]
    assert mirrored["motion2"] == straight["motion2"]


def test_a_photograph_mirrored_scores_the_same_within_a_point() -> None:
    ref, dis = _pair("bsds_x3")
    straight, mirrored = _scores(ref, dis).frames, _scores(ref.flip(-1), dis.flip(-1)).frames
    assert mirrored["vmaf"] == pytest.approx(straight["vmaf"], abs=1)


def test_single_frames_and_small_ones_are_flagged() -> None:
    flags = _scores(*_pair("tiny33x33_blur")).flags
    assert [flag for flag in flags if "33×33" in flag]
    assert not [flag for flag in flags if "motion 0" in flag]
    ref, dis = _pair("bsds_x3")
    (flag,) = _scores(ref[:1], dis[:1]).flags
    assert "motion 0" in flag
    assert _scores(*_pair("carphone_h264")).flags == ()


@pytest.mark.parametrize(
    ("bits", "ref", "dis", "sentence"),
    [
        (8, _noise(1, 32, 99, 0), _noise(1, 32, 99, 1), "33 pixels a side, got 99×32"),
        (8, _noise(1, 40, 40, 0), _noise(1, 40, 41, 1), "of one size"),
        (8, _noise(1, 40, 40, 0)[0], _noise(1, 40, 40, 1)[0], "N, 1, H, W"),
        (8, _noise(1, 40, 40, 0), _noise(1, 40, 40, 1).float(), "must be torch.uint8"),
        (10, _noise(1, 40, 40, 0), _noise(1, 40, 40, 1), "must be torch.uint16"),
        (9, _noise(1, 40, 40, 0), _noise(1, 40, 40, 1), "bits is 9"),
    ],
)
def test_frames_that_cannot_be_scored_are_one_sentence(
    bits: int, ref: Tensor, dis: Tensor, sentence: str
) -> None:
    with pytest.raises(FramesUnusable, match=sentence):
        _scores(ref, dis, bits=bits)


def test_a_pixel_beyond_its_bits_is_one_sentence() -> None:
    frames = torch.full((1, 1, 40, 40), 1024, dtype=torch.uint16)
    with pytest.raises(FramesUnusable, match="a pixel is 1024, which 10 bits cannot hold"):
        _scores(frames, frames, bits=10)


def test_a_clip_keeps_its_size_and_what_it_has_after_an_error() -> None:
    ref, dis = _pair("tiny34x48_blur")
    clip = Clip()
    clip.add(ref, dis)
    with pytest.raises(FramesUnusable, match="34×48 so far, and these frames are 40×40"):
        clip.add(_noise(1, 40, 40, 0), _noise(1, 40, 40, 1))
    assert clip.scores() == _scores(ref, dis)


def test_no_frames_have_no_scores() -> None:
    assert Clip().scores().frames == {}


def test_pooling_is_libvmafs() -> None:
    pooled = fusion.pooled([20.0, 80.0])
    assert pooled == pytest.approx(
        {"mean": 50.0, "min": 20.0, "max": 80.0, "harmonic_mean": 2 / (1 / 21 + 1 / 81) - 1}
    )


def test_what_the_models_score_beyond_their_range_is_clipped() -> None:
    model = Model.named("vmaf_v0.6.1")
    features = torch.tensor([[1.2, 20.0, 1.3, 1.3, 1.3, 1.3], [0.06, 0.6, 0.9, 1.0, 0.6, 0.4]])
    raw = model.raw(features.double())
    assert raw[0] > 100
    assert raw[1] < 0
    assert model.score(features.double()).tolist() == [100, 0]


def test_unknown_model_is_one_sentence() -> None:
    with pytest.raises(UnknownModel, match="'vmaf_v1'; known are vmaf_v0"):
        Model.named("vmaf_v1")


def test_both_engines_agree_on_photographs() -> None:
    photos = [
        load([f"package:skimage/data/{name}.png"])[0].pixels for name in ("coffee", "chelsea")
    ]
    hr = [photo[1, :160, :200].contiguous() for photo in photos]
    sr = [(image // 24 * 24).contiguous() for image in hr]
    by_torch = vmaf.luma_scores(sr, hr, engine="torch")
    by_ffmpeg = vmaf.luma_scores(sr, hr, engine="ffmpeg")
    for ours, theirs in zip(by_torch, by_ffmpeg, strict=True):
        assert {name: ours[name] for name in theirs} == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("case", ["carphone_freeze_jpeg", "odd175x143_x2", "sparks10_dis"])
def test_both_engines_agree_on_clips_in_every_column(case: str) -> None:
    ref, dis = _pair(case)
    pieces = [(ref[:1], dis[:1]), (ref[1:], dis[1:])]
    bits = CASES[case]["bits"]
    ours, theirs = (
        vmaf.clip_scores(pieces, bits=bits, models=MODELS, engine=engine)
        for engine in ("torch", "ffmpeg")
    )
    assert list(ours.frames) == list(theirs.frames)
    assert ours.flags == theirs.flags
    for name, values in ours.frames.items():
        assert values == pytest.approx(theirs.frames[name], abs=1e-4)


def test_ffmpeg_refuses_what_the_other_engine_refuses() -> None:
    pieces = [(_noise(1, 40, 40, 0),) * 2, (_noise(1, 40, 44, 0),) * 2]
    with pytest.raises(FramesUnusable, match="the clip was 40×40 so far"):
        vmaf.clip_scores(pieces, engine="ffmpeg")
    assert vmaf.clip_scores([], engine="ffmpeg").frames == {}


def test_the_engine_follows_the_frames_and_what_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_cpu, on_gpu = torch.zeros(1), torch.zeros(1, device="meta")
    assert vmaf.engine_for(on_cpu) == "ffmpeg"
    assert vmaf.engine_for(on_gpu) == "torch"
    assert vmaf.engine_for(on_cpu, "torch") == "torch"
    monkeypatch.setattr(vmaf.ffmpeg, "installed", lambda: False)
    assert vmaf.engine_for(on_cpu) == "torch"


def test_parts_of_stills_are_metrics_of_their_own() -> None:
    photo = load(["package:skimage/data/coffee.png"])[0].pixels[:, :120, :160]
    names = [*FEATURES, "motion2"]
    scores = metrics.score(names, [(photo // 2 + 60, photo), (photo, photo)], scale=2)
    assert scores["motion2"] == [0, 0]
    for name in FEATURES:
        assert scores[name][0] < scores[name][1] == pytest.approx(1, abs=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_scores_as_a_cpu_does() -> None:
    ref, dis = _pair("carphone_h264")
    assert _scores(ref.cuda(), dis.cuda()).frames == pytest.approx(_scores(ref, dis).frames)
