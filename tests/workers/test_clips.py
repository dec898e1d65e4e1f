"""A study's clips are photographs in a row: trained on frame by frame, scored with their motion."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data as photographs
from torch import nn

from tests.workers import tiny_training as tiny
from workers import models
from workers.course import open_course
from workers.data.decode import DataError
from workers.data.pairs import Whole, validation
from workers.data.sources import load
from workers.evaluate import Table, score
from workers.metrics.vmaf import luma_scores
from workers.suppliers import seeded

PHOTO = "chelsea"


def write_clip(path: Path, *, frames: int = 6, step: int = 3) -> NDArray[np.uint8]:
    """A camera that moves over a photograph, as lossless video; returns its frames."""
    photo: NDArray[np.uint8] = getattr(photographs, PHOTO)()
    cuts = np.stack([photo[40:120, 60 + step * k : 172 + step * k] for k in range(frames)])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 112, 80, "yuv444p"
        for cut in cuts:
            frame = av.VideoFrame.from_ndarray(cut, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv444p")))
        container.mux(stream.encode())
    return cuts


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    write_clip(tmp_path / "walk.mkv")
    return tmp_path / "walk.mkv"


@pytest.fixture(scope="module")
def generator() -> nn.Module:
    return seeded(lambda: models.build("espcn", scale=2), 0).requires_grad_(False)


def test_frames_of_a_clip_are_photographs_in_a_row(tmp_path: Path) -> None:
    cuts = write_clip(tmp_path / "walk.mkv")
    photos = load([str(tmp_path)], clip_frames=4)
    assert [p.name for p in photos] == [f"walk.mkv#{k:04d}" for k in range(4)]
    assert {p.clip for p in photos} == {"walk.mkv"}
    for photo, cut in zip(photos, cuts, strict=False):
        off = photo.pixels.permute(1, 2, 0).numpy().astype(int) - cut
        assert np.abs(off).mean() < 1.5  # through 8-bit YUV and back


def test_vmaf_of_a_clip_counts_its_motion_and_that_of_its_frames_alone_does_not(
    clip: Path, generator: nn.Module
) -> None:
    frames = validation(load([str(clip)]), 2)
    alone = [Whole(frame.name, frame.lr, frame.hr) for frame in frames]
    moving = score(generator, frames, ["vmaf", "motion2"], scale=2)
    still = score(generator, alone, ["vmaf", "motion2"], scale=2)
    assert still.columns["motion2"] == [0] * len(frames)
    assert min(moving.columns["motion2"][1:]) > 1
    assert moving.means["vmaf"] > still.means["vmaf"] + 1


def test_both_engines_score_a_clip_with_the_same_motion(clip: Path) -> None:
    luma = [photo.pixels[1] for photo in load([str(clip)])]
    blurred = [
        nn.functional.avg_pool2d(y[None, None].float(), 3, 1, 1)[0, 0].to(torch.uint8) for y in luma
    ]
    exact, process = (
        luma_scores(blurred, luma, engine=engine, still=False) for engine in ("torch", "ffmpeg")
    )
    for ours, theirs in zip(exact, process, strict=True):
        assert ours["vmaf_neg"] == pytest.approx(theirs["vmaf_neg"], abs=1e-3)
        assert ours["motion2"] == pytest.approx(theirs["motion2"], abs=1e-4)


def test_the_table_tells_which_rows_have_motion(clip: Path, generator: nn.Module) -> None:
    frames = validation(load([str(clip)], clip_frames=2), 2)
    still = Whole("still.png", frames[0].lr, frames[0].hr)
    table: Table = score(generator, [*frames, still], ["psnr_y"], scale=2)
    rows = list(csv.DictReader(io.StringIO(table.csv().decode())))
    assert [(r["image"], r["motion"]) for r in rows[:3]] == [
        ("walk.mkv#0000", "true"),
        ("walk.mkv#0001", "true"),
        ("still.png", "0"),
    ]
    assert [r["image"] for r in rows[3:]] == ["(mean)", "(min)", "(max)", "(harmonic_mean)"]
    assert float(rows[3]["psnr_y"]) == pytest.approx(table.means["psnr_y"], abs=1e-6)


def test_a_study_trains_on_one_clip_and_is_scored_on_another(tmp_path: Path) -> None:
    write_clip(tmp_path / "train.mkv")
    data = {"train": [str(tmp_path / "train.mkv")], "clip_frames": 3}
    definition = tiny.define(tiny.write_photos(tmp_path / "photos"), data=data)
    bench = tiny.new_bench(tmp_path)
    course = open_course(tiny.job(definition), bench, log=tiny.silent)
    tiny.run(course)
    assert [photo.clip for photo in bench.photos(definition.data).train] == ["train.mkv"] * 3


def test_a_damaged_clip_is_named(tmp_path: Path) -> None:
    (tmp_path / "torn.mkv").write_bytes(b"\x1aE\xdf\xa3 not a film")
    with pytest.raises(DataError, match=r"torn\.mkv"):
        load([str(tmp_path / "torn.mkv")])
