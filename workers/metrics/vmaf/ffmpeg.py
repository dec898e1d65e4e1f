"""VMAF by libvmaf inside the ffmpeg that imageio-ffmpeg carries, which runs as a separate process.

Several times faster on a CPU than the torch engine, and equal to the six decimals that it prints,
but for one case: with more than 8 bits and a width of 32·k + 1 or 32·k + 2, its AVX2 code for
wavelets is off by up to 0.1 points from libvmaf's own C, which the torch engine follows.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch

from losses._vmaf import Model
from workers.metrics._registry import MetricUnavailable
from workers.metrics.vmaf import fusion
from workers.metrics.vmaf.frames import Scores, check, flags

if TYPE_CHECKING:
    from torch import Tensor

_SECONDS_PER_FRAME = 20
_SECONDS = 600
_REMEDY = "install imageio-ffmpeg==0.8.1 beside the worker (pip install 'srtune[worker]')"
_FEATURES = (*(f"vif_scale{scale}" for scale in range(4)), "adm2")


def installed() -> bool:
    """Whether the package that carries ffmpeg is here; it is looked for, not started."""
    return importlib.util.find_spec("imageio_ffmpeg") is not None


def clip_scores(
    pieces: Iterable[tuple[Tensor, Tensor]], *, bits: int, models: Sequence[str], still: bool
) -> Scores:
    """Return what the torch engine's `Clip` does; frames go through temporary files.

    Raises FramesUnusable, and MetricUnavailable without a working ffmpeg.
    """
    engine = _engine()
    chosen = [Model.named(name) for name in models]
    # Relative paths inside a folder of its own, so that no name needs escaping.
    with tempfile.TemporaryDirectory(prefix="srtune-vmaf-") as folder:
        size, count = _write_clips(Path(folder), pieces, bits)
        if size is None or count == 0:
            return Scores({}, ())
        frames = _run(engine, folder, _filter(chosen, count, still=still), count)
    columns = {fusion.COLUMNS[model.name]: fusion.COLUMNS[model.name] for model in chosen}
    for limit in fusion.limits(chosen):
        ending = "_egl_1" if limit == 1 else ""
        columns |= {fusion.column(name, limit): f"integer_{name}{ending}" for name in _FEATURES}
        columns["motion2"] = _motion(frames[0])
    table = {name: [frame[theirs] for frame in frames] for name, theirs in columns.items()}
    return Scores(table, flags(size, count, still=still))


def _motion(frame: dict[str, float]) -> str:
    """The name libvmaf gives motion2, to which it adds the options that it was computed with."""
    return next(name for name in frame if name.startswith("integer_motion2"))


def _engine() -> str:
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise MetricUnavailable(f"VMAF needs ffmpeg with libvmaf; {_REMEDY}") from error


def _filter(models: Sequence[Model], count: int, *, still: bool) -> str:
    # Stills lie in one clip, one process for all; without force_zero each would move to the next.
    option = "\\:motion.motion_force_zero=true" if still else ""
    named = "|".join(
        f"version={model.name}\\:name={fusion.COLUMNS[model.name]}{option}" for model in models
    )
    threads = max(1, min(torch.get_num_threads(), count))
    return f"[0:v][1:v]libvmaf=n_threads={threads}:log_fmt=json:log_path=log.json:model='{named}'"


def _run(engine: str, folder: str, graph: str, count: int) -> list[dict[str, float]]:
    command = [engine, "-nostdin", "-loglevel", "error", "-i", "dis.y4m", "-i", "ref.y4m"]
    command += ["-lavfi", graph, "-f", "null", "-"]
    limit = _SECONDS + _SECONDS_PER_FRAME * count
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=limit)
        log: dict[str, Any] = json.loads(Path(folder, "log.json").read_text(encoding="utf-8"))
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise MetricUnavailable(f"{engine} cannot compute VMAF ({last}); {_REMEDY}") from error
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise MetricUnavailable(f"{engine} did not compute VMAF ({error}); {_REMEDY}") from error
    frames: list[dict[str, float]] = [frame["metrics"] for frame in log["frames"]]
    if len(frames) != count:
        raise MetricUnavailable(f"ffmpeg scored {len(frames)} of {count} images; {_REMEDY}")
    return frames


def _write_clips(
    folder: Path, pieces: Iterable[tuple[Tensor, Tensor]], bits: int
) -> tuple[tuple[int, int] | None, int]:
    """Write ref.y4m and dis.y4m; return height and width, and how many frames there are."""
    size, count = None, 0
    with ExitStack() as stack:
        files = [stack.enter_context((folder / f"{n}.y4m").open("wb")) for n in ("ref", "dis")]
        for pair in pieces:
            before, size = size, check(*pair, bits=bits, before=size)
            for file, frames in zip(files, pair, strict=True):
                if before is None:
                    file.write(_header(size, bits))
                _write_frames(file, frames, bits)
            count += len(pair[0])
    return size, count


def _header(size: tuple[int, int], bits: int) -> bytes:
    """YUV4MPEG2 of 4:4:4, which takes odd sizes."""
    kind = "C444" if bits == 8 else f"C444p{bits} XYSCSS=444P{bits}"
    return f"YUV4MPEG2 W{size[1]} H{size[0]} F25:1 Ip A1:1 {kind}\n".encode()


def _write_frames(clip: BinaryIO, frames: Tensor, bits: int) -> None:
    """Write luma with grey for chroma: ffmpeg would stretch luma alone from studio to full range."""
    grey = torch.full_like(frames[:1, 0].expand(2, -1, -1), 1 << (bits - 1))
    chroma = grey.cpu().numpy().tobytes()
    clip.writelines(
        b"FRAME\n" + frame.contiguous().cpu().numpy().tobytes() + chroma for frame in frames
    )
