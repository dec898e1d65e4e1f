"""Milliseconds forward and backward of every loss, against other people's code in the same convention.

    python -m benchmarks.losses [--only NAME ...] [--peer NAME ...] [--seconds 2]

16×3×192×192 on CUDA where there is one, else 4×3×96×96 on one CPU thread, float32. Ours and theirs take
turns in short bursts in one process; milliseconds are medians (of processor time on a CPU), ratios are
medians over neighbouring bursts, above 1 where ours is faster. Values and gradients are compared in the
same run. Ours runs within `losses.trusted()`, as in training, where nobody looks at the values of
images; peers run as they are, and piq does look. Networks have real widths and random weights; our
frozen ones have the memory order a worker gives them. Peers are installed once, without their
dependencies, into a cached folder that is not this environment.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import torch

import losses
from benchmarks import composite, pairs_of_features, pairs_of_games, pairs_of_images
from benchmarks.loss_scene import Pair, Scene
from benchmarks.peers import VERSIONS, PeerUnavailable
from benchmarks.report import HEADING, row, row_alone
from benchmarks.stopwatch import Way, burst, compare

#: Peer → what yields its pairs.
PEERS: dict[str, tuple[Callable[[Scene], Iterator[Pair]], ...]] = {
    "BasicSR": (pairs_of_images.basicsr, pairs_of_features.basicsr, pairs_of_games.basicsr),
    "piq": (pairs_of_images.piq, pairs_of_features.piq),
    "kornia": (pairs_of_images.kornia,),
    "pytorch-msssim": (pairs_of_images.pytorch_msssim,),
    "mmagic": (pairs_of_images.mmagic, pairs_of_features.mmagic),
    "lpips": (pairs_of_features.lpips,),
    "focal-frequency": (pairs_of_images.focal_frequency,),
}

#: Losses of which no package has a like that pip installs here, with parameters.
ALONE: dict[str, dict[str, Any]] = {
    "huber": {},
    "fft": {},
    "gradient_variance": {},
    "wavelet": {},
    "lr_consistency": {"scale": 4, "target": "hr"},
}

#: Values in the same convention agree to this in float32. Gradients need not: behind ReLUs and the
#: sign of an L1, rounding decides about features that are nearly equal.
_SAME = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], help="rows that begin so")
    parser.add_argument("--peer", nargs="*", default=[], help=f"of {', '.join(PEERS)}")
    parser.add_argument("--seconds", type=float, default=2.0, help="what a row may take")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", module="basicsr|piq|kornia|lpips|mmagic")
    torch.set_num_threads(1)
    on_gpu = torch.cuda.is_available()
    scene = Scene.on(torch.device("cuda" if on_gpu else "cpu"), *((16, 192) if on_gpu else (4, 96)))
    print(header(scene))
    with losses.trusted():
        slower, differing = against_peers(scene, given)
        if not given.only and not given.peer:
            without_peers(scene)
            composite.table(scene, given.seconds)
    print(f"slower than a peer: {', '.join(slower) or 'none'}")
    print(f"another value than a peer's: {', '.join(differing) or 'none'}")


def header(scene: Scene) -> str:
    """Return what was measured where, and the heading of the table."""
    on = scene.sr.device.type
    machine = torch.cuda.get_device_name() if on == "cuda" else platform.machine()
    versions = ", ".join(f"{name} {version}" for name, version in VERSIONS.items())
    return (
        f"{'×'.join(map(str, scene.sr.shape))} float32 on {on} ({machine}), torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread, load {os.getloadavg()[0]:.1f}\n{versions}\n"
        f"ours within losses.trusted(); ratio is peer / ours\n\n{HEADING}"
    )


def against_peers(scene: Scene, given: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Print a row for every pair; return those where the peer is faster, and where values differ."""
    slower, differing = [], []
    for peer, pairs in PEERS.items():
        if given.peer and peer not in given.peer:
            continue
        try:
            for pair in chain.from_iterable(of(scene) for of in pairs):
                if given.only and not pair.loss.startswith(tuple(given.only)):
                    continue
                ours = Way(pair.ours, pair.inputs)
                theirs = Way(pair.theirs, pair.inputs)
                found = compare(ours, theirs, given.seconds)
                print(row(pair.loss, peer, found), flush=True)
                name = f"{pair.loss} ({peer} {found.ratio:.2f})"
                slower += [name] if found.ratio < 1 else []
                differing += [name] if found.value_gap > _SAME else []
        except PeerUnavailable as error:
            print(row_alone("", peer, str(error)), flush=True)
    return slower, differing


def without_peers(scene: Scene) -> None:
    """Print our own time of the losses that nobody else has."""
    for name, parameters in ALONE.items():
        way = Way(scene.ours(name, **parameters), (scene.sr,))
        way()
        took = statistics.median(burst(way, 3) for _ in range(9))
        print(row_alone(name, "none", f"{1e3 * took:.2f}"), flush=True)


if __name__ == "__main__":
    main()
