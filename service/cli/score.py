"""`srtune score`: finished images or video against their originals, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from workers.scoring import Report, Request


class Engine(StrEnum):
    """Who computes VMAF."""

    AUTO = "auto"
    TORCH = "torch"
    FFMPEG = "ffmpeg"


class Matrix(StrEnum):
    """How luma and RGB belong together."""

    BT601 = "bt601"
    BT709 = "bt709"
    BT2020 = "bt2020"


def score(
    reference: Annotated[
        Path, typer.Argument(metavar="REF", help="The original: image, video, or a folder of them.")
    ],
    distorted: Annotated[
        Path,
        typer.Argument(
            metavar="DIST", help="What is scored; in a folder, files of the same names."
        ),
    ],
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            help="Names with commas, see `srtune metrics`. Default: VMAF, its parts, psnr_y, ssim_y.",
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write everything as JSON; - is stdout."),
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write a line per frame.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.png", help="Draw curves and the worst frames."),
    ] = None,
    engine: Annotated[
        Engine,
        typer.Option(
            "--engine", help="Of VMAF; auto: torch on a GPU, ffmpeg on a CPU if installed."
        ),
    ] = Engine.AUTO,
    scale: Annotated[
        int | None,
        typer.Option(
            "--scale",
            min=1,
            max=16,
            help="Factor of super-resolution: PSNR and SSIM cut a border of as many pixels.",
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            help="`bicubic`, or another DIST: a NEG bought with PSNR and SSIM is flagged.",
        ),
    ] = None,
    matrix: Annotated[
        Matrix | None,
        typer.Option(
            "--matrix",
            help="Between RGB and luma. Default: as the file declares, bt601 for images.",
        ),
    ] = None,
    sequence: Annotated[
        bool, typer.Option("--sequence", help="The images of a folder are the frames of one clip.")
    ] = False,
) -> None:
    """Score images or video against their originals: VMAF and its parts, PSNR, SSIM and more.

    Runs here, without a service. The table has every frame, or the worst of many; files have all.
    """
    from service.cli.output import answer, note
    from service.cli.score_files import check_targets, write
    from service.cli.score_tables import shown
    from workers.scoring import DEFAULT, Request

    to_stdout = json_file == Path("-")
    files = {"json": None if to_stdout else json_file, "csv": csv_file, "plot": plot}
    targets = {kind: file for kind, file in files.items() if file is not None}
    check_targets(targets, inputs=(reference, distorted))
    request = Request(
        reference=reference,
        distorted=distorted,
        metrics=_names(metrics) if metrics is not None else DEFAULT,
        engine=engine.value,
        scale=scale,
        baseline=_baseline(baseline),
        matrix=None if matrix is None else matrix.value,
        sequence=sequence,
    )
    report = _scored(request)
    write(report, targets)
    if to_stdout:
        answer(report.plain(), "", as_json=True)
    else:
        answer(None, shown(report), as_json=False)
    for file in targets.values():
        note(f"wrote {file}")


def _names(given: str) -> tuple[str, ...]:
    from service.cli.errors import WrongUsage

    names = tuple(name.strip() for name in given.split(",") if name.strip())
    if not names:
        raise WrongUsage(
            "--metrics names no metric; write some with commas, such as vmaf_neg,psnr_y"
        )
    return names


def _baseline(given: str | None) -> Path | Literal["bicubic"] | None:
    if given == "bicubic":
        return "bicubic"
    return None if given is None else Path(given)


def _scored(request: Request) -> Report:
    """Score with a progress bar; what is wrong with the input becomes wrong usage."""
    from service.cli.errors import NeedsPackages, WrongUsage
    from workers.data.decode import DataError
    from workers.metrics import ImageUnusable, MetricUnavailable, UnknownMetric
    from workers.scoring import score as compare

    try:
        with _progress() as tell:
            return compare(request, tell)
    except (DataError, ImageUnusable, UnknownMetric) as error:
        raise WrongUsage(str(error)) from error
    except MetricUnavailable as error:
        raise NeedsPackages(str(error)) from error


@contextmanager
def _progress() -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr, in a terminal only."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from service.cli.output import console

    screen = console(stderr=True)
    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("scoring", total=None)

        def _tell(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield _tell
