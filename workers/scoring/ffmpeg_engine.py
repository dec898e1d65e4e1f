"""VMAF by libvmaf inside the ffmpeg that imageio-ffmpeg carries, run as a separate process."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import tempfile
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.metrics import MetricUnavailable

if TYPE_CHECKING:
    from workers.data.media import Plane
    from workers.scoring.vmaf_engine import EngineName

REMEDY = "pip install 'srtune[ffmpeg]' brings imageio-ffmpeg==0.8.1"
_SECONDS = 600  #: that the last frames may take after they were handed over
_KEYS = {f"integer_vif_scale{scale}": f"vif_scale{scale}" for scale in range(4)} | {
    "vmaf": "vmaf",
    "vmaf_neg": "vmaf_neg",
    "integer_adm2": "adm2",
    "integer_motion2": "motion2",
}


def available() -> bool:
    """Whether the package that carries ffmpeg is here; it is looked for, not started."""
    return importlib.util.find_spec("imageio_ffmpeg") is not None


class FfmpegEngine:
    """Starts one ffmpeg a clip."""

    name: EngineName = "ffmpeg"

    def __init__(self) -> None:
        try:
            import imageio_ffmpeg

            self._program = str(imageio_ffmpeg.get_ffmpeg_exe())
        except (ImportError, RuntimeError) as error:
            raise MetricUnavailable(f"VMAF needs ffmpeg with libvmaf; {REMEDY}") from error
        self.version = f"libvmaf in ffmpeg of imageio-ffmpeg {version_of('imageio-ffmpeg')}"

    def open(self, *, width: int, height: int, bits: int, still: bool) -> FfmpegSession:
        """Start the process; raises MetricUnavailable if there is none."""
        return FfmpegSession(self._program, width, height, bits, still=still)


class FfmpegSession:
    """Luma goes in through a pipe; scores come out of a log when the pipe is closed."""

    def __init__(self, program: str, width: int, height: int, bits: int, *, still: bool) -> None:
        self._program = program
        self._frames = 0
        self._folder = tempfile.TemporaryDirectory(prefix="srtune-vmaf-")
        self._errors = Path(self._folder.name, "errors")
        command = [program, "-nostdin", "-loglevel", "error", *_input(width, height, bits)]
        command += ["-lavfi", _graph(width, height, bits, still=still), "-f", "null", "-"]
        try:
            with self._errors.open("wb") as errors:
                self._process = subprocess.Popen(
                    command,
                    cwd=self._folder.name,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                )
        except OSError as error:
            self._folder.cleanup()
            raise MetricUnavailable(f"{program} cannot be run ({error}); {REMEDY}") from error

    def add(self, reference: Plane, distorted: Plane) -> None:
        """Hand over one frame, the distorted above the reference; waits while ffmpeg is busy."""
        pipe = self._process.stdin
        if pipe is None or pipe.closed:
            raise ValueError("the session is over")
        try:
            pipe.write(distorted.tobytes())
            pipe.write(reference.tobytes())
        except OSError as error:
            raise self._failed() from error
        self._frames += 1

    def finish(self) -> list[dict[str, float]]:
        """Return the scores of all frames; raises MetricUnavailable if ffmpeg failed."""
        try:
            self._end_input()
            if self._process.wait(timeout=_SECONDS):
                raise self._failed()
            log = Path(self._folder.name, "log.json").read_text(encoding="utf-8")
            frames = json.loads(log)["frames"]
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            raise MetricUnavailable(
                f"{self._program} did not compute VMAF ({error}); {REMEDY}"
            ) from error
        finally:
            self.close()
        if len(frames) != self._frames:
            raise MetricUnavailable(
                f"ffmpeg scored {len(frames)} of {self._frames} frames; {REMEDY}"
            )
        return [_columns(frame["metrics"]) for frame in frames]

    def close(self) -> None:
        """End the process, if it still runs, and remove its folder."""
        with contextlib.suppress(OSError):
            self._end_input()
        if not self.ended:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def _end_input(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _failed(self) -> MetricUnavailable:
        self._process.wait(timeout=_SECONDS)
        last = self._errors.read_text(errors="replace").strip().rpartition("\n")[2]
        return MetricUnavailable(f"{self._program} cannot compute VMAF ({last}); {REMEDY}")


def _input(width: int, height: int, bits: int) -> list[str]:
    """Both clips in one stream, one above the other: two pipes could wait for each other forever."""
    pixels = "gray" if bits == 8 else f"gray{bits}le"
    stream = ["-f", "rawvideo", "-pix_fmt", pixels, "-s", f"{width}x{2 * height}"]
    return [*stream, "-framerate", "25", "-i", "pipe:0"]


def _graph(width: int, height: int, bits: int, *, still: bool) -> str:
    """Luma stands in for chroma too, which VMAF does not look at.

    mergeplanes copies; left to itself ffmpeg would convert grey to YUV, and stretch the range.
    """
    planes = ":".join(f"map{k}s=0:map{k}p=0" for k in range(3))
    pixels = "yuv444p" if bits == 8 else f"yuv444p{bits}le"
    # In a clip of stills each would otherwise move to the next.
    motion = "\\:motion.motion_force_zero=true" if still else ""
    models = "|".join(
        f"version={version}\\:name={name}{motion}"
        for name, version in (("vmaf", "vmaf_v0.6.1"), ("vmaf_neg", "vmaf_v0.6.1neg"))
    )
    threads = max(1, os.cpu_count() or 1)
    return (
        f"[0:v]mergeplanes={planes}:format={pixels},split[a][b];"
        f"[a]crop={width}:{height}:0:0[dis];[b]crop={width}:{height}:0:{height}[ref];"
        f"[dis][ref]libvmaf=n_threads={threads}:log_fmt=json:log_path=log.json:model='{models}'"
    )


def _columns(metrics: dict[str, Any]) -> dict[str, float]:
    # With motion forced to zero, libvmaf lists it under a name that says so, or not at all.
    found = {ours: float(metrics[key]) for key, ours in _KEYS.items() if key in metrics}
    return {"motion2": 0.0} | found
