"""VMAF out of an engine, frame by frame, equals libvmaf's reference build; a broken one says so."""

from __future__ import annotations

import json
import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from workers.data.media import Plane
from workers.metrics import MetricUnavailable
from workers.metrics.vmaf import FfmpegClip
from workers.scoring.vmaf_engine import COLUMNS, VmafEngine, choose

VECTORS = Path(__file__).parents[1] / "vectors" / "metrics"
STILLS: dict[str, dict[str, float]] = json.loads((VECTORS / "vmaf_stills.json").read_text())


def engines() -> list[VmafEngine]:
    return [choose("ffmpeg"), choose("torch")]


def clips(case: str) -> Sequence[tuple[Plane, Plane]]:
    """Reference and distorted, two frames."""
    arrays = np.load(VECTORS / "vmaf_stills.npz")
    return list(zip(arrays[f"{case}.ref"], arrays[f"{case}.dis"], strict=True))


def through(
    engine: VmafEngine, frames: Sequence[tuple[Plane, Plane]], *, bits: int = 8, still: bool = True
) -> list[dict[str, float]]:
    height, width = frames[0][0].shape
    session = engine.open(width=width, height=height, bits=bits, still=still)
    try:
        for reference, distorted in frames:
            session.add(reference, distorted)
        return session.finish()
    finally:
        session.close()


@pytest.mark.parametrize("engine", engines(), ids=lambda engine: engine.name)
@pytest.mark.parametrize("case", STILLS)
def test_stills_score_as_the_reference_build_scores_them(case: str, engine: VmafEngine) -> None:
    first, second = through(engine, clips(case))
    for name, value in STILLS[case].items():
        assert first[name] == pytest.approx(value, abs=0.01)
    assert first["motion2"] == second["motion2"] == 0
    assert set(COLUMNS) <= set(first)


@pytest.mark.parametrize("engine", engines(), ids=lambda engine: engine.name)
def test_frames_of_a_clip_move_and_stills_do_not(engine: VmafEngine) -> None:
    moving = through(engine, clips("carphone_h264"), still=False)
    still = through(engine, clips("carphone_h264"))
    assert moving[0]["vmaf"] == pytest.approx(still[0]["vmaf"], abs=1e-5)
    assert moving[1]["motion2"] > 0 == still[1]["motion2"]
    assert moving[1]["vmaf"] > still[1]["vmaf"]


@pytest.mark.parametrize("engine", engines(), ids=lambda engine: engine.name)
def test_ten_bits_of_eight_bit_frames_score_nearly_as_the_eight(engine: VmafEngine) -> None:
    frames = clips("carphone_h264")
    deep = [(ref.astype(np.uint16) * 4, dis.astype(np.uint16) * 4) for ref, dis in frames]
    eight, ten = (through(engine, f, bits=b) for f, b in ((frames, 8), (deep, 10)))
    assert ten[0]["vmaf"] == pytest.approx(eight[0]["vmaf"], abs=0.05)


def test_both_engines_agree_on_a_clip_to_the_last_digit_that_is_written() -> None:
    ffmpeg, torch = (through(engine, clips("carphone_h264"), still=False) for engine in engines())
    for theirs, ours in zip(ffmpeg, torch, strict=True):
        for name in COLUMNS:
            assert ours[name] == pytest.approx(theirs[name], abs=5e-6), name


def test_ffmpeg_that_is_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    with pytest.raises(MetricUnavailable, match=r"srtune\[ffmpeg\]"):
        through(choose("ffmpeg"), clips("carphone_h264"))


def test_ffmpeg_without_libvmaf_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "ffmpeg"
    other.write_text("#!/bin/sh\necho 'No such filter: libvmaf' >&2\nexit 1\n")
    other.chmod(other.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(other))
    large = [(np.zeros((400, 400), np.uint8), np.zeros((400, 400), np.uint8))] * 4
    with pytest.raises(MetricUnavailable, match="No such filter: libvmaf"):
        through(choose("ffmpeg"), large)


def test_a_session_that_is_given_up_leaves_no_process_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    clip = FfmpegClip()
    clip.add(*torch.zeros(2, 1, 1, 64, 64, dtype=torch.uint8))
    (folder,) = tmp_path.iterdir()
    ours = [p for p in psutil.Process().children() if p.cwd() == str(folder)]
    assert len(ours) == 1
    clip.close()
    assert not list(tmp_path.iterdir())
    assert not ours[0].is_running()
