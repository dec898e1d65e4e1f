"""A finished comparison: frames, pooled scores, what they mean, and what to be careful about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workers import metrics
from workers.data.media import Matrix, MediaUnusable, announced
from workers.scoring import flags
from workers.scoring.baseline import bicubic_baseline
from workers.scoring.definition import definition
from workers.scoring.flags import Flag
from workers.scoring.frames import Reading, Seen
from workers.scoring.pairing import Pair, pairs
from workers.scoring.run import run
from workers.scoring.table import Row, column, pooled
from workers.scoring.vmaf_engine import COLUMNS, VmafEngine, choose

DEFAULT = (*COLUMNS, "psnr_y", "ssim_y")

#: Told how many frames are done, and of how many where that is known.
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Request:
    """What to compare and how."""

    reference: Path
    distorted: Path
    metrics: tuple[str, ...] = DEFAULT
    engine: Literal["auto", "torch", "ffmpeg"] = "auto"
    scale: int | None = None  #: the border that PSNR and SSIM cut; what some metrics depend on
    baseline: Path | Literal["bicubic"] | None = None
    matrix: Matrix | None = None
    sequence: bool = False  #: images of a folder are one clip


@dataclass(frozen=True)
class Report:
    """`plain()` is the JSON; `pairs` and `reading` are for whoever wants to see the frames again."""

    frames: list[Row]
    pooled: dict[str, dict[str, float | None]]
    definition: dict[str, Any]
    flags: list[Flag]
    pairs: list[Pair]
    reading: Reading

    def plain(self) -> dict[str, Any]:
        """Return {"frames", "pooled", "definition", "flags"}."""
        return {
            "frames": self.frames,
            "pooled": self.pooled,
            "definition": self.definition,
            "flags": self.flags,
        }


def score(request: Request, progress: Progress = lambda _done, _total: None) -> Report:
    """Compare, frame by frame.

    Raises MediaUnusable, DataError and ImageUnusable for what cannot be compared, UnknownMetric, and
    MetricUnavailable for what this machine lacks.
    """
    names = list(dict.fromkeys(request.metrics))
    _prepare([name for name in names if name not in COLUMNS], request)
    found = pairs(request.reference, request.distorted, sequence=request.sequence)
    reading = Reading(request.matrix, request.scale)
    judged = list(flags.MARGINS) if request.baseline else []
    engine = choose(request.engine) if {*names, *judged} & {*COLUMNS} else None
    tick = _ticker(found, progress, passes=2 if request.baseline else 1)
    seen = Seen()
    computed = names + [name for name in judged if name not in names]
    rows = run(found, computed, reading, engine=engine, seen=seen, progress=tick)
    raised = _flags(rows, computed, seen)
    if request.baseline:
        against = _baseline_rows(request, found, reading, engine, tick)
        raised += flags.suspected_hack(rows, against, str(request.baseline))
    kept: list[Row] = [{key: line[key] for key in ("index", "name", *names)} for line in rows]
    return Report(
        frames=kept,
        pooled={name: pooled(column(rows, name)) for name in names},
        definition=definition(
            names,
            reference=request.reference,
            distorted=request.distorted,
            pairs=found,
            seen=seen,
            reading=reading,
            engine=engine,
            baseline=None if request.baseline is None else str(request.baseline),
        ),
        flags=raised,
        pairs=found,
        reading=reading,
    )


def _prepare(names: Sequence[str], request: Request) -> None:
    """Find out before the first frame what would fail at it."""
    metrics.prepare(names)
    needy = [name for name in names if "scale" in metrics.SPECS[name].needs]
    if needy and request.scale is None:
        raise MediaUnusable(
            f"{' and '.join(needy)} depend{'s' if len(needy) == 1 else ''} on the factor of "
            "super-resolution; add --scale"
        )
    if request.baseline == "bicubic" and request.scale is None:
        raise MediaUnusable("--baseline bicubic shrinks and enlarges the reference; add --scale")


def _baseline_rows(
    request: Request,
    found: Sequence[Pair],
    reading: Reading,
    engine: VmafEngine | None,
    tick: Callable[[], None],
) -> list[Row]:
    names = list(flags.MARGINS)
    if isinstance(request.baseline, Path):
        others = pairs(request.reference, request.baseline, sequence=request.sequence)
        return run(others, names, reading, engine=engine, progress=tick)
    maker = bicubic_baseline(reading.scale or 1)
    return run(found, names, reading, engine=engine, maker=maker, progress=tick)


def _flags(rows: Sequence[Row], names: Sequence[str], seen: Seen) -> list[Flag]:
    raised: list[Flag] = []
    if {"vmaf", "vmaf_neg"} <= {*names}:
        raised += flags.enhancement_gain(rows)
    if {"vmaf", "vmaf_neg"} & {*names}:
        raised += flags.no_motion(seen.motionless, len(rows))
        raised += flags.small_frames(seen.sizes)
    if seen.matrices_differ:
        raised.append(flags.matrices_differ())
    return raised


def _ticker(found: Sequence[Pair], progress: Progress, *, passes: int) -> Callable[[], None]:
    counts = [announced(path) for pair in found for path in pair.reference]
    known = [count for count in counts if count is not None]
    total = passes * sum(known) if len(known) == len(counts) else None
    done = 0

    def _tick() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    return _tick
