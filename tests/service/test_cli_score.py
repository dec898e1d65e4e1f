"""`srtune score`: tables for people, files that are whole or not there, one sentence per mistake."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from service.cli import main as cli

FRAME = [
    *("index", "name", "vmaf", "vmaf_neg", "vif_scale0", "vif_scale1", "vif_scale2", "vif_scale3"),
    *("adm2", "motion2", "psnr_y", "ssim_y"),
]


class Ran(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


Score = Callable[..., Ran]


@pytest.fixture
def score(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Score:
    """Run `srtune score` in this process, with the ffmpeg engine."""
    monkeypatch.setenv("SRTUNE_DEBUG", "")

    def run(*arguments: object) -> Ran:
        command = ["srtune", "score", *map(str, arguments), "--engine", "ffmpeg"]
        monkeypatch.setattr(sys, "argv", command)
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Ran(code, *capsys.readouterr())

    return run


def frames(count: int, *, height: int = 40, width: int = 48) -> list[np.ndarray[Any, Any]]:
    ramp = np.add.outer(np.arange(height) * 3, np.arange(width) * 2)
    return [((ramp + 9 * k + 20 * np.sin(ramp)) % 200 + 20).astype(np.uint8) for k in range(count)]


def y4m(path: Path, luma: list[np.ndarray[Any, Any]]) -> Path:
    height, width = luma[0].shape
    head = f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 Cmono\n".encode()
    path.write_bytes(head + b"".join(b"FRAME\n" + frame.tobytes() for frame in luma))
    return path


@pytest.fixture
def clips(tmp_path: Path) -> tuple[Path, Path]:
    """A reference and a darker one, three frames."""
    made = frames(3)
    return y4m(tmp_path / "ref.y4m", made), y4m(tmp_path / "dis.y4m", [f // 2 + 40 for f in made])


def test_the_json_is_what_the_documentation_promises(
    score: Score, clips: tuple[Path, Path], tmp_path: Path
) -> None:
    ran = score(*clips, "--json", tmp_path / "out.json")
    assert ran.code == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert list(report) == ["frames", "pooled", "definition", "flags"]
    assert [list(frame) for frame in report["frames"]] == [FRAME] * 3
    assert [frame["index"] for frame in report["frames"]] == [0, 1, 2]
    assert list(report["pooled"]) == FRAME[2:]
    assert all(
        list(pool) == ["mean", "min", "max", "harmonic_mean"] for pool in report["pooled"].values()
    )
    assert list(report["definition"]) == [
        *("reference", "distorted", "baseline", "luma", "rgb", "border", "motion", "vmaf"),
        *("pooling", "metrics", "flags"),
    ]
    assert report["definition"]["vmaf"]["models"] == {
        "vmaf": "vmaf_v0.6.1",
        "vmaf_neg": "vmaf_v0.6.1neg",
    }
    assert all(set(flag) == {"flag", "message", "frames"} for flag in report["flags"])


def test_stdout_may_be_the_json(score: Score, clips: tuple[Path, Path]) -> None:
    ran = score(*clips, "--json", "-", "--metrics", "psnr_y")
    assert set(json.loads(ran.out)) == {"frames", "pooled", "definition", "flags"}


def test_the_table_shows_every_frame_the_pooled_scores_and_who_computed_them(
    score: Score, clips: tuple[Path, Path]
) -> None:
    ran = score(*clips)
    for words in (
        "ref.y4m#2",
        "vmaf_neg ↑",
        "harmonic mean",
        "ffmpeg",
        "as stored",
        "small frames",
    ):
        assert words in ran.out


def test_a_long_clip_shows_its_worst_frames(score: Score, tmp_path: Path) -> None:
    ref = frames(30)
    dis = [frame if k != 17 else 255 - frame for k, frame in enumerate(ref)]
    ran = score(y4m(tmp_path / "a.y4m", ref), y4m(tmp_path / "b.y4m", dis), "--metrics", "psnr_y")
    lines = ran.out.splitlines()
    assert lines[0] == "the 10 worst of 30 frames by psnr_y"
    assert lines[2].startswith("a.y4m#17 ")


def test_csv_has_a_line_per_frame(score: Score, clips: tuple[Path, Path], tmp_path: Path) -> None:
    score(*clips, "--csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == FRAME
    assert [line["name"] for line in lines] == ["ref.y4m#0", "ref.y4m#1", "ref.y4m#2"]


def test_the_plot_is_a_picture_of_curves_and_worst_frames(
    score: Score, clips: tuple[Path, Path], tmp_path: Path
) -> None:
    score(*clips, "--plot", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.format == "PNG"
        assert picture.width == 1400
        assert len(picture.convert("RGB").getcolors(2**24) or []) > 100


WRONG: dict[str, tuple[tuple[object, ...], str]] = {
    "a metric that is none": (("--metrics", "psnr_x"), "did you mean `psnr_"),
    "no metric": (("--metrics", ","), "--metrics names no metric"),
    "a folder that is not there": (("--json", "nowhere/out.json"), "there is no folder nowhere"),
    "an output over the input": (("--csv", "{dis}"), "would overwrite what is scored"),
    "two outputs in one": (("--csv", "{at}/x", "--json", "{at}/x"), "the same name"),
    "bicubic without a factor": (("--baseline", "bicubic"), "add --scale"),
    "a baseline that is not there": (("--baseline", "{at}/no.y4m"), "no.y4m does not exist"),
    "a sequence of files": (("--sequence",), "--sequence reads folders"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_one_sentence_and_status_2(
    score: Score, clips: tuple[Path, Path], tmp_path: Path, case: str
) -> None:
    options, sentence = WRONG[case]
    given = [str(option).format(dis=clips[1], at=tmp_path) for option in options]
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    ran = score(*clips, *given)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), ran
    assert sentence in ran.err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_input_that_breaks_midway_leaves_no_file(
    score: Score, clips: tuple[Path, Path], tmp_path: Path
) -> None:
    whole = clips[1].read_bytes()
    clips[1].write_bytes(whole[:-50])
    before = sorted(tmp_path.iterdir())
    outputs = ("--json", tmp_path / "o.json", "--csv", tmp_path / "o.csv")
    ran = score(*clips, *outputs, "--plot", tmp_path / "o.png")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert "dis.y4m is cut short after frame 1" in ran.err
    assert sorted(tmp_path.iterdir()) == before


def test_an_output_that_fails_takes_the_others_with_it(
    score: Score, clips: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("workers.scoring.plot.draw", fail)
    (tmp_path / "o.json").write_text("the older result")
    before = sorted(tmp_path.iterdir())
    ran = score(*clips, "--json", tmp_path / "o.json", "--plot", tmp_path / "o.png")
    assert ran.code == 1
    assert "No space left" in ran.err
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "o.json").read_text() == "the older result"


def test_an_engine_that_is_missing_is_a_sentence_with_the_remedy(
    score: Score, clips: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    ran = score(*clips)
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "srtune[ffmpeg]" in ran.err
