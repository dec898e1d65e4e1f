"""All frames of all pairs, once, in pieces that fit into memory, through metrics and VMAF."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from workers import metrics
from workers.metrics.vmaf import SMALLEST
from workers.scoring.frames import FramePair, Maker, Reading, Seen, frame_pairs
from workers.scoring.table import Row, row
from workers.scoring.vmaf_engine import COLUMNS, VmafEngine, VmafSession

if TYPE_CHECKING:
    from workers.scoring.pairing import Pair

#: Told after every frame.
Progress: TypeAlias = Callable[[], None]

_PIXELS = 2_000_000  #: of frames that metrics hold at once: one of 1080p, which takes 0.4 GB
_FRAMES = 32


def run(
    pairs: Sequence[Pair],
    names: Sequence[str],
    reading: Reading,
    *,
    engine: VmafEngine | None,
    seen: Seen | None = None,
    maker: Maker | None = None,
    progress: Progress = lambda: None,
) -> list[Row]:
    """Return one row per frame with the metrics of `names` in their order.

    `engine` is needed only for VMAF's columns. All stills are one run of the engine per size; every
    clip is its own, since motion ends with it.
    """
    rows: list[Row] = []
    for frames, still in _streams(pairs, reading, maker):
        others = [name for name in names if name not in COLUMNS]
        vmaf = _Vmaf(engine, still=still) if len(others) < len(names) else None
        try:
            scores: list[dict[str, float]] = []
            labels: list[str] = []
            for chunk in _chunks(_noted(frames, seen, progress)):
                scores += _measured(others, chunk)
                labels += [frame.name for frame in chunk]
                if vmaf is not None:
                    vmaf.add(chunk)
                del chunk  # else it would stay while the next one is filled
            columns = vmaf.finish() if vmaf is not None else [{} for _ in scores]
        finally:
            if vmaf is not None:
                vmaf.close()
        if seen is not None and (still or len(labels) == 1):
            seen.motionless += range(len(rows), len(rows) + len(labels))
        for label, left, right in zip(labels, columns, scores, strict=True):
            both = left | right
            rows.append(row(len(rows), label, {name: both[name] for name in names}))
    return rows


def _streams(
    pairs: Sequence[Pair], reading: Reading, maker: Maker | None
) -> Iterator[tuple[Iterator[FramePair], bool]]:
    """Clips one by one; neighbouring stills together."""
    stills: list[Pair] = []
    for pair in pairs:
        if pair.still:
            stills.append(pair)
            continue
        if stills:
            yield _stills(stills, reading, maker), True
            stills = []
        yield frame_pairs(pair, reading, maker), False
    if stills:
        yield _stills(stills, reading, maker), True


def _stills(pairs: Sequence[Pair], reading: Reading, maker: Maker | None) -> Iterator[FramePair]:
    for pair in pairs:
        yield from frame_pairs(pair, reading, maker)


def _noted(
    frames: Iterator[FramePair], seen: Seen | None, progress: Progress
) -> Iterator[FramePair]:
    for frame in frames:
        if seen is not None:
            seen.note(frame)
        yield frame
        progress()


def _chunks(frames: Iterator[FramePair]) -> Iterator[list[FramePair]]:
    chunk: list[FramePair] = []
    pixels = 0
    for frame in frames:
        chunk.append(frame)
        width, height = frame.reference.size
        pixels += width * height
        if pixels >= _PIXELS or len(chunk) == _FRAMES:
            yield chunk
            chunk, pixels = [], 0
    if chunk:
        yield chunk


def _measured(names: Sequence[str], chunk: Sequence[FramePair]) -> list[dict[str, float]]:
    scores: dict[str, list[float]] = {}
    for name in names:
        try:
            scores |= metrics.measure([name], chunk)
        except metrics.ImageUnusable as error:
            raise metrics.ImageUnusable(f"{chunk[0].name}: {name}: {error}") from error
    return [{name: scores[name][k] for name in names} for k in range(len(chunk))]


class _Vmaf:
    """One session after the other, as long as sizes and depths stay; stills may change them."""

    def __init__(self, engine: VmafEngine | None, *, still: bool) -> None:
        self._engine, self._still = engine, still
        self._session: VmafSession | None = None
        self._look: tuple[int, int, int] | None = None
        self._rows: list[dict[str, float]] = []

    def add(self, chunk: Sequence[FramePair]) -> None:
        for frame in chunk:
            look = (*frame.reference.size, frame.reference.bits)
            if self._session is None or look != self._look:
                self._begin(frame, look)
            if self._session is not None:
                self._session.add(frame.hr_codes, frame.sr_codes)

    def _begin(self, frame: FramePair, look: tuple[int, int, int]) -> None:
        self.finish()
        width, height, bits = self._look = look
        if min(width, height) < SMALLEST:
            raise metrics.ImageUnusable(
                f"{frame.name}: VMAF needs {SMALLEST} pixels a side, got {width}×{height}"
            )
        if self._engine is not None:
            self._session = self._engine.open(
                width=width, height=height, bits=bits, still=self._still
            )

    def finish(self) -> list[dict[str, float]]:
        if self._session is not None:
            self._rows += self._session.finish()
            self._session = None
        return self._rows

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
