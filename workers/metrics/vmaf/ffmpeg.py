"""VMAF by libvmaf inside the ffmpeg that imageio-ffmpeg carries, which runs as a separate process.

Several times faster on a CPU than the torch engine, and equal to the six decimals that it prints,
but for one case: with more than 8 bits and a width of 32·k + 1 or 32·k + 2, its AVX2 code for
wavelets is off by up to 0.1 points from libvmaf's own C, which the torch engine follows.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from losses._vmaf import Model
from workers.metrics._registry import MetricUnavailable
from workers.metrics.vmaf import fusion
from workers.metrics.vmaf.frames import Scores, check, flags

if TYPE_CHECKING:
    from torch import Tensor

REMEDY = "pip install 'srtune[ffmpeg]' brings imageio-ffmpeg==0.8.1"
_SECONDS = 600  #: that the last frames may take after they were handed over
_FEATURES = (*(f"vif_scale{scale}" for scale in range(4)), "adm2")


def installed() -> bool:
    """Whether the package that carries ffmpeg is here; it is looked for, not started."""
    return importlib.util.find_spec("imageio_ffmpeg") is not None


def version() -> str:
    """Return what computes, for definitions of scores."""
    return f"libvmaf in ffmpeg of imageio-ffmpeg {version_of('imageio-ffmpeg')}"


class FfmpegClip:
    """What `Clip` is, done by ffmpeg: luma goes in through a pipe, scores come out of a log.

    The process starts with the first frames and ends with `scores` or `close`. Raises
    MetricUnavailable where there is no ffmpeg, or it fails.
    """

    def __init__(
        self,
        *,
        bits: int = 8,
        models: Sequence[str] = ("vmaf_v0.6.1", "vmaf_v0.6.1neg"),
        still: bool = False,
    ) -> None:
        self.bits = bits
        self.still = still
        self._models = [Model.named(name) for name in models]
        self._size: tuple[int, int] | None = None
        self._process: _Process | None = None
        self._frames = 0

    def add(self, ref: Tensor, dis: Tensor) -> None:
        """Hand over the next frames (N, 1, H, W); waits while ffmpeg is busy. Raises FramesUnusable."""
        self._size = check(ref, dis, bits=self.bits, before=self._size)
        if self._process is None:
            self._process = _Process(_arguments(self._size, self.bits, self._models, self.still))
        # Both in one stream, one above the other: two pipes could wait for each other forever.
        for frame in torch.cat([dis, ref], dim=-2)[:, 0].cpu():
            self._process.write(frame.contiguous().numpy().tobytes())
        self._frames += len(ref)

    def scores(self) -> Scores:
        """Return the scores of all frames; the clip ends here."""
        if self._process is None or self._size is None:
            return Scores({}, ())
        frames = self._process.finish()
        if len(frames) != self._frames:
            raise MetricUnavailable(
                f"ffmpeg scored {len(frames)} of {self._frames} frames; {REMEDY}"
            )
        table = {
            ours: [frame.get(theirs, 0.0) for frame in frames]
            for ours, theirs in _columns(self._models, frames[0]).items()
        }
        return Scores(table, flags(self._size, self._frames, still=self.still))

    def close(self) -> None:
        """Give up; harmless after `scores`."""
        if self._process is not None:
            self._process.close()


class _Process:
    """One ffmpeg in a folder of its own, so that no name in a filter needs escaping."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._program = program()
        self._folder = tempfile.TemporaryDirectory(prefix="srtune-vmaf-")
        self._errors = Path(self._folder.name, "errors")
        try:
            with self._errors.open("wb") as errors:
                self._running = subprocess.Popen(
                    [self._program, *arguments],
                    cwd=self._folder.name,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                )
        except OSError as error:
            self._folder.cleanup()
            raise MetricUnavailable(f"{self._program} cannot be run ({error}); {REMEDY}") from error

    def write(self, pixels: bytes) -> None:
        pipe = self._running.stdin
        if pipe is None or pipe.closed:
            raise ValueError("the clip has ended")
        try:
            pipe.write(pixels)
        except OSError as error:
            raise self._failed() from error

    def finish(self) -> list[dict[str, float]]:
        """Close the pipe, wait, and return what libvmaf says of each frame."""
        try:
            self._end_input()
            if self._running.wait(timeout=_SECONDS):
                raise self._failed()
            log = Path(self._folder.name, "log.json").read_text(encoding="utf-8")
            found: list[dict[str, Any]] = json.loads(log)["frames"]
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            raise MetricUnavailable(
                f"{self._program} did not compute VMAF ({error}); {REMEDY}"
            ) from error
        finally:
            self.close()
        return [frame["metrics"] for frame in found]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._end_input()
        if self._running.poll() is None:
            self._running.kill()
            self._running.wait()
        self._folder.cleanup()

    def _end_input(self) -> None:
        if self._running.stdin is not None:
            self._running.stdin.close()

    def _failed(self) -> MetricUnavailable:
        self._running.wait(timeout=_SECONDS)
        last = self._errors.read_text(errors="replace").strip().rpartition("\n")[2]
        return MetricUnavailable(f"{self._program} cannot compute VMAF ({last}); {REMEDY}")


def program() -> str:
    """Return the path of ffmpeg; raises MetricUnavailable, with the remedy, without it."""
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise MetricUnavailable(f"VMAF needs ffmpeg with libvmaf; {REMEDY}") from error


def _arguments(size: tuple[int, int], bits: int, models: Sequence[Model], still: bool) -> list[str]:
    """Read both clips from one stream, and compare its halves.

    Luma stands in for chroma too, which VMAF does not look at. mergeplanes copies; left to itself
    ffmpeg would convert grey to YUV, and stretch the range.
    """
    height, width = size
    depth = "" if bits == 8 else f"{bits}le"
    planes = ":".join(f"map{k}s=0:map{k}p=0" for k in range(3))
    # Stills lie in one clip, one process for all; each would otherwise move to the next.
    motion = "\\:motion.motion_force_zero=true" if still else ""
    named = "|".join(
        f"version={model.name}\\:name={fusion.COLUMNS[model.name]}{motion}" for model in models
    )
    graph = (
        f"[0:v]mergeplanes={planes}:format=yuv444p{depth},split[a][b];"
        f"[a]crop={width}:{height}:0:0[dis];[b]crop={width}:{height}:0:{height}[ref];"
        f"[dis][ref]libvmaf=n_threads={torch.get_num_threads()}:log_fmt=json:log_path=log.json:"
        f"model='{named}'"
    )
    stream = ["-f", "rawvideo", "-pix_fmt", f"gray{depth}", "-s", f"{width}x{2 * height}"]
    read = ["-nostdin", "-loglevel", "error", *stream, "-framerate", "25", "-i", "pipe:0"]
    return [*read, "-lavfi", graph, "-f", "null", "-"]


def _columns(models: Sequence[Model], frame: dict[str, float]) -> dict[str, str]:
    """Our names of columns, and libvmaf's in this log."""
    # It adds the options that motion was computed with to its name, or leaves it out where forced.
    moved = next((name for name in frame if name.startswith("integer_motion2")), "motion2")
    columns = {fusion.COLUMNS[model.name]: fusion.COLUMNS[model.name] for model in models}
    for limit in fusion.limits(models):
        ending = "_egl_1" if limit == 1 else ""
        columns |= {fusion.column(name, limit): f"integer_{name}{ending}" for name in _FEATURES}
        columns["motion2"] = moved
    return columns
