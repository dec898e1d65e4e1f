"""What losses may need beside SR and HR, computed once per step however many terms ask for it.

A need is a keyword-only argument of a loss's `forward`. A new need is one supplier here and one
entry in `SUPPLIERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from losses._features import FeatureNetwork, Features


Network = TypeVar("Network", bound=nn.Module)


class DefinitionError(Exception):
    """The study asks for something this worker's code cannot build."""


class Networks:
    """The frozen feature networks of a worker, each loaded once and kept for all its trials."""

    def __init__(self, load: Callable[[str], FeatureNetwork], device: torch.device | str) -> None:
        self._load = load
        self._device = device
        self._kept: dict[str, FeatureNetwork] = {}

    def __getitem__(self, backbone: str) -> FeatureNetwork:
        if backbone not in self._kept:
            self._kept[backbone] = placed(self._load(backbone), self._device)
        return self._kept[backbone]


class Supplier(Protocol):
    """Gives each term that needs it one thing, per step."""

    def __call__(self, sr: Tensor, hr: Tensor) -> Mapping[str, object]:
        """Return what is needed by the key of the term."""
        ...


def features(
    losses: Mapping[str, Any], networks: Networks, adversaries: Mapping[str, nn.Module]
) -> Supplier:
    """Supply features: one pass per backbone, down to the deepest layer any of its terms reads."""
    layers: dict[str, set[str]] = {}
    backbones: dict[str, str] = {key: str(loss.backbone) for key, loss in losses.items()}
    for key, loss in losses.items():
        layers.setdefault(backbones[key], set()).update(loss.layers)
    loaded = {backbone: networks[backbone] for backbone in layers}

    def supply(sr: Tensor, hr: Tensor) -> Mapping[str, Features]:
        found = {name: loaded[name].compare(sr, hr, layers[name]) for name in layers}
        return {key: found[backbone] for key, backbone in backbones.items()}

    return supply


def discriminator(
    losses: Mapping[str, nn.Module], networks: Networks, adversaries: Mapping[str, nn.Module]
) -> Supplier:
    """Supply each adversarial term with the discriminator that is trained for it."""

    def supply(sr: Tensor, hr: Tensor) -> Mapping[str, nn.Module]:
        return adversaries

    return supply


#: Need → what builds its supplier from the losses that have it.
SUPPLIERS: dict[str, Callable[..., Supplier]] = {
    "features": features,
    "discriminator": discriminator,
}


def suppliers(
    needs: Mapping[str, tuple[str, ...]],
    losses: Mapping[str, nn.Module],
    networks: Networks,
    adversaries: Mapping[str, nn.Module],
) -> dict[str, Supplier]:
    """Return a supplier for every need of these terms; raises DefinitionError for one unknown."""
    built: dict[str, Supplier] = {}
    for need in sorted({need for wanted in needs.values() for need in wanted}):
        if need not in SUPPLIERS:
            raise DefinitionError(f"no supplier gives `{need}`; known are {', '.join(SUPPLIERS)}")
        asking = {key: losses[key] for key in losses if need in needs[key]}
        built[need] = SUPPLIERS[need](asking, networks, adversaries)
    return built


def discriminators(losses: Mapping[str, nn.Module], seed: int) -> dict[str, nn.Module]:
    """Return a fresh discriminator for every loss that plays against one, by the term's key.

    Initial weights depend on the seed and the order of the adversarial terms alone.
    """
    built: dict[str, nn.Module] = {}
    for key, loss in losses.items():
        build: Any = getattr(loss, "build_discriminator", None)
        if build is not None:
            built[key] = seeded(build, seed + 1 + len(built))
    return built


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return what `build` builds with torch's generator at `seed`, which is then as it was."""
    # On the CPU whatever the device, so that all devices start from the same weights.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def placed(network: Network, device: torch.device | str) -> Network:
    """Return the network on its device, channels last: convolutions are faster in that order."""
    # torch's stubs do not know this argument of Module.to.
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
