"""Speed and error of VMAF: our exact torch engine, the ffmpeg engine, and PyPI's vmaf-torch 1.1.0.

    python -m benchmarks.vmaf [--frames 12] [--device cpu]

Every engine scores the same clips of tests/vectors/vmaf on one thread; errors are against what
libvmaf's C code gave for them, frame by frame. Ours and ffmpeg compute VMAF and NEG in one pass,
vmaf-torch VMAF alone. vmaf-torch is installed into a temporary folder, by pip.
"""

from __future__ import annotations

import argparse
import io
import json
import lzma
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from workers.metrics import vmaf

VECTORS = Path(__file__).parents[1] / "tests" / "vectors" / "vmaf"
#: Clips by size of frame; 1080p has single frames only, so those are scored as stills in one batch.
CLIPS = {
    "576×324": ("src01_x4_bicubic", "src01_hrc01"),
    "1920×1080": ("dark1080_dis", "archer1080_dis"),
}
PEER = ["vmaf-torch==1.1.0", "pandas", "yuvio", "python-dateutil", "six", "tzdata"]

Engine = Callable[[Tensor, Tensor], list[float]]


class Timing(NamedTuple):
    """What an engine did on one size of frames."""

    frames_per_second: float  #: of CPU time, its own and its children's; of wall time on a GPU
    error: float  #: greatest difference of VMAF from libvmaf's C code
    megabytes: float  #: peak memory of the process so far, or of the GPU


def clip(case: str) -> tuple[Tensor, Tensor, list[float]]:
    cases: dict[str, dict[str, Any]] = json.loads((VECTORS / "cases.json").read_text())
    ref, dis = (
        np.load(io.BytesIO(lzma.decompress((VECTORS / cases[case][kind]).read_bytes())))
        for kind in ("ref", "dis")
    )
    scores: list[float] = cases[case]["scores"]["vmaf"]
    return torch.from_numpy(ref)[:, None], torch.from_numpy(dis)[:, None], scores


def by_torch(ref: Tensor, dis: Tensor) -> list[float]:
    return vmaf.clip_scores([(ref, dis)], engine="torch").frames["vmaf"]


def by_ffmpeg(ref: Tensor, dis: Tensor) -> list[float]:
    return vmaf.clip_scores([(ref.cpu(), dis.cpu())], engine="ffmpeg").frames["vmaf"]


def peer(folder: str, device: str) -> Engine:
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, *PEER]
    subprocess.run(command, check=True)
    sys.path.append(folder)
    module: Any = __import__("vmaf_torch")
    metric = module.VMAF(clip_score=True).to(device).eval()

    @torch.no_grad()
    def score(ref: Tensor, dis: Tensor) -> list[float]:
        values: list[float] = metric(ref.float(), dis.float()).flatten().tolist()
        return values

    return score


def seconds(device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
        return time.perf_counter()
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return sum(usage.ru_utime + usage.ru_stime for usage in (own, children))


def measure(engine: Engine, cases: tuple[str, ...], frames: int, device: str) -> Timing:
    error, best = 0.0, float("inf")
    for case in cases:
        ref, dis, wanted = clip(case)
        found = engine(ref.to(device), dis.to(device))
        error = max(error, *(abs(a - b) for a, b in zip(found, wanted, strict=True)))
        repeats = max(1, frames // len(ref))
        many = [z.repeat(repeats, 1, 1, 1).to(device) for z in (ref, dis)]
        for _ in range(3):
            started = seconds(device)
            engine(many[0], many[1])
            best = min(best, (seconds(device) - started) / len(many[0]))
    return Timing(1 / best, error, _peak(device))


def _peak(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=12, help="frames of a clip at 576×324")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    unit = "frames/CPU-s" if chosen.device == "cpu" else "frames/s"
    print(f"{'engine':34}{'size':12}{unit:>14}{'max |error|':>14}{'peak MB':>10}")
    with tempfile.TemporaryDirectory(prefix="srtune-bench-") as folder:
        engines = {
            "srtune, torch (VMAF and NEG)": by_torch,
            "srtune, ffmpeg (VMAF and NEG)": by_ffmpeg,
            "vmaf-torch 1.1.0 (VMAF)": peer(folder, chosen.device),
        }
        for name, engine in engines.items():
            for size, cases in CLIPS.items():
                # A sixth of the frames at eleven times the pixels; more for ffmpeg, so that what
                # starting a process costs is shared as in a clip.
                frames = max(2, chosen.frames // 6) if size.endswith("1080") else chosen.frames
                frames *= 12 if engine is by_ffmpeg else 1
                timing = measure(engine, cases, frames, chosen.device)
                print(
                    f"{name:34}{size:12}{timing.frames_per_second:14.2f}{timing.error:14.1e}"
                    f"{timing.megabytes:10.0f}"
                )


if __name__ == "__main__":
    main()
