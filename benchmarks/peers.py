"""Other people's losses: installed into a folder of their own, never into this environment.

What their packages import beside the losses (torchvision, an image codec, a model zoo) is replaced by
empty modules; the losses themselves are the files their authors published, run as they are.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

#: Distribution → the versions the table is about; none of their dependencies is installed.
VERSIONS = {
    "basicsr": "1.4.2",
    "piq": "0.8.0",
    "kornia": "0.9.0",
    "pytorch-msssim": "1.0.0",
    "mmagic": "1.2.0",
    "lpips": "0.1.4",
    "focal-frequency-loss": "0.3.0",
}

#: Packages whose own `__init__` imports half of a framework; their single files do not need it.
_BARE = {
    "basicsr": ("basicsr", "basicsr.utils", "basicsr.archs", "basicsr.losses"),
    "piq": ("piq",),
    "mmagic": ("mmagic", "mmagic.models", "mmagic.models.losses"),
}

#: Convolutions per block and their width, of the networks torchvision would download.
_VGG = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_WIDTHS = (64, 128, 256, 512, 512)


class PeerUnavailable(Exception):
    """A peer could not be installed or imported here; its rows say so."""


def vgg(name: str) -> nn.Module:
    """Return torchvision's VGG in layout and width, with random weights that are always the same.

    Variance is kept from layer to layer, so that the deepest features are as large as trained ones.
    """
    found: list[nn.Module] = []
    inputs = 3
    draw = torch.Generator().manual_seed(19)
    for width, convolutions in zip(_WIDTHS, _VGG[name], strict=True):
        for _ in range(convolutions):
            convolution = nn.Conv2d(inputs, width, 3, padding=1)
            nn.init.normal_(convolution.weight, std=(2 / (9 * inputs)) ** 0.5, generator=draw)
            nn.init.zeros_(convolution.bias if convolution.bias is not None else torch.empty(0))
            found += [convolution, nn.ReLU(inplace=True)]
            inputs = width
        found.append(nn.MaxPool2d(2, 2))
    whole = nn.Module()
    whole.features = nn.Sequential(*found)
    return whole


def folder() -> Path:
    """Return where peers are installed: `peers` in $SRTUNE_CACHE, else in ~/.cache/srtune."""
    cache = os.environ.get("SRTUNE_CACHE")
    return (Path(cache) if cache else Path.home() / ".cache" / "srtune") / "peers"


def load(distribution: str, *modules: str) -> tuple[Any, ...]:
    """Install a peer if it is not there yet, and import these modules of it; raises PeerUnavailable."""
    at = folder() / f"{distribution}-{VERSIONS[distribution]}"
    if not at.exists():
        _install(distribution, at)
    if str(at) not in sys.path:
        sys.path.append(str(at))
    _stand_in()
    for name in _BARE.get(distribution, ()):
        if name not in sys.modules:
            bare = ModuleType(name)
            bare.__path__ = [str(at / name.replace(".", "/"))]
            sys.modules[name] = bare
    try:
        return tuple(importlib.import_module(name) for name in modules)
    except ImportError as error:
        raise PeerUnavailable(f"{distribution} does not import here: {error}") from error


def _install(distribution: str, at: Path) -> None:
    wanted = f"{distribution}=={VERSIONS[distribution]}"
    partial = at.with_name(f"{at.name}.partial")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--upgrade", "--target", str(partial), wanted],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["pip says nothing"]
        raise PeerUnavailable(f"{wanted} cannot be installed: {said[-1]}")
    partial.replace(at)


def _stand_in() -> None:
    """Put empty modules where peers import what their losses do not use."""
    if "torchvision" in sys.modules:
        return
    networks: Mapping[str, Callable[..., nn.Module]] = {
        name: lambda *_, _name=name, **__: vgg(_name) for name in _VGG
    }
    zoo = _module("torchvision.models.vgg", **networks)
    models = _module("torchvision.models", vgg=zoo, **networks)
    _module("torchvision", models=models, transforms=_module("torchvision.transforms"))
    _module("kornia_rs", io=_module("kornia_rs.io"))
    _module("mmengine", MMLogger=None)
    _module("mmengine.runner", load_checkpoint=None)
    registry = ModuleType("registry")
    registry.register_module = lambda *_, **__: lambda made: made  # type: ignore[attr-defined]
    _module("mmagic.registry", MODELS=registry)


def _module(name: str, **contents: Any) -> ModuleType:
    made = ModuleType(name)
    made.__path__ = []
    made.__dict__.update(contents)
    sys.modules[name] = made
    return made


@contextmanager
def downloads_give(found: object) -> Iterator[None]:
    """Answer a peer's download of trained weights with `found` within."""
    original = torch.hub.load_state_dict_from_url
    torch.hub.load_state_dict_from_url = lambda *_, **__: found  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.hub.load_state_dict_from_url = original


def state(name: str) -> dict[str, Tensor]:
    """Return the weights of `vgg(name)` by torchvision's names, for our networks."""
    return dict(vgg(name).state_dict())
