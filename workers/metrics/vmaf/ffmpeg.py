"""VMAF and VMAF-NEG of stills, by libvmaf inside the ffmpeg that imageio-ffmpeg carries.

ffmpeg runs as a separate process; several times faster on a CPU than the torch engine.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import torch

from workers.metrics._registry import MetricUnavailable
from workers.metrics.vmaf.clip import SMALLEST, FramesUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

_PIXELS_AT_ONCE = 2**24  #: 100 MB of temporary files
_SECONDS = 600
_REMEDY = "install imageio-ffmpeg==0.8.1 beside the worker (pip install 'srtune[worker]')"
#: Stills lie in one clip, one process for all; without force_zero each would move to the next.
_MODELS = "|".join(
    f"version={version}\\:name={name}\\:motion.motion_force_zero=true"
    for name, version in (("vmaf", "vmaf_v0.6.1"), ("vmaf_neg", "vmaf_v0.6.1neg"))
)


def luma_scores(sr: Sequence[Tensor], hr: Sequence[Tensor]) -> list[dict[str, float]]:
    """Return {"vmaf", "vmaf_neg"} of each pair of uint8 luma (H, W), all of one size.

    Raises ImageUnusable below 33 pixels a side and MetricUnavailable without a working ffmpeg.
    """
    height, width = hr[0].shape
    if min(height, width) < SMALLEST:
        raise FramesUnusable(f"VMAF needs {SMALLEST} pixels a side, got {width}×{height}")
    engine = _engine()
    at_once = max(1, _PIXELS_AT_ONCE // (height * width))
    scores: list[dict[str, float]] = []
    for start in range(0, len(hr), at_once):
        chunk = slice(start, start + at_once)
        scores += _run(engine, sr[chunk], hr[chunk])
    return scores


def installed() -> bool:
    """Whether the package that carries ffmpeg is here; it is looked for, not started."""
    return importlib.util.find_spec("imageio_ffmpeg") is not None


def _engine() -> str:
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise MetricUnavailable(f"VMAF needs ffmpeg with libvmaf; {_REMEDY}") from error


def _run(engine: str, sr: Sequence[Tensor], hr: Sequence[Tensor]) -> list[dict[str, float]]:
    """One process; relative paths inside its own folder, so that no name needs escaping."""
    with tempfile.TemporaryDirectory(prefix="srtune-vmaf-") as folder:
        for name, images in (("sr.y4m", sr), ("hr.y4m", hr)):
            with Path(folder, name).open("wb") as clip:
                _write_clip(clip, images)
        threads = max(1, min(torch.get_num_threads(), len(sr)))
        graph = f"[0:v][1:v]libvmaf=n_threads={threads}:log_fmt=json:log_path=log.json:model='{_MODELS}'"
        command = [engine, "-nostdin", "-loglevel", "error", "-i", "sr.y4m", "-i", "hr.y4m"]
        command += ["-lavfi", graph, "-f", "null", "-"]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=_SECONDS)
            log = json.loads(Path(folder, "log.json").read_text(encoding="utf-8"))
        except subprocess.CalledProcessError as error:
            last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise MetricUnavailable(f"{engine} cannot compute VMAF ({last}); {_REMEDY}") from error
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise MetricUnavailable(
                f"{engine} did not compute VMAF ({error}); {_REMEDY}"
            ) from error
    return list(_frames(log, len(sr)))


def _frames(
    log: dict[str, list[dict[str, dict[str, float]]]], count: int
) -> Iterator[dict[str, float]]:
    frames = log["frames"]
    if len(frames) != count:
        raise MetricUnavailable(f"ffmpeg scored {len(frames)} of {count} images; {_REMEDY}")
    for frame in frames:
        yield {name: frame["metrics"][name] for name in ("vmaf", "vmaf_neg")}


def _write_clip(clip: BinaryIO, images: Sequence[Tensor]) -> None:
    """Write luma as YUV4MPEG2 of 4:4:4, which takes odd sizes, with grey for chroma.

    ffmpeg would stretch a clip of luma alone from studio swing to the full range.
    """
    height, width = images[0].shape
    clip.write(f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C444\n".encode())
    chroma = bytes([128]) * (2 * height * width)
    clip.writelines(
        b"FRAME\n" + image.contiguous().cpu().numpy().tobytes() + chroma for image in images
    )
