"""The frozen networks of a worker, loaded once, and how any network gets its weights and its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from torch import Tensor, nn

from workers.allowance import EVERYTHING, Allowance

if TYPE_CHECKING:
    from losses import FeatureSource
    from losses._faces import FaceNetwork, FaceSource
    from losses._features import FeatureNetwork

Network = TypeVar("Network", bound=nn.Module)


class Pretrained(Protocol):
    """Where weights that nobody trains here come from; `workers.weights` is one."""

    def feature_network(self, source: FeatureSource, /) -> FeatureNetwork:
        """Return the frozen network of a source."""
        ...

    def heads(self, name: str, /) -> Mapping[str, Tensor]:
        """Return learned weights of feature channels by name or path."""
        ...

    def face_network(self, source: FaceSource, /) -> FaceNetwork:
        """Return the frozen landmark network of a source."""
        ...


class Networks:
    """What is pretrained, each loaded at first use and kept on the device for all trials.

    Raises WeightsNotAllowed for weights that are not `allowed`, before their file is opened.
    """

    def __init__(
        self,
        pretrained: Pretrained,
        device: torch.device | str,
        *,
        allowed: Allowance = EVERYTHING,
    ) -> None:
        self._pretrained = pretrained
        self._allowed = allowed
        self._device = device
        self._features: dict[FeatureSource, FeatureNetwork] = {}
        self._heads: dict[str, Mapping[str, Tensor]] = {}
        self._faces: dict[FaceSource, FaceNetwork] = {}

    def features(self, source: FeatureSource) -> FeatureNetwork:
        """Return the feature network of a source; raises WeightsUnavailable."""
        if source not in self._features:
            self._allowed.weight(source.weights)
            self._features[source] = placed(self._pretrained.feature_network(source), self._device)
        return self._features[source]

    def heads(self, name: str) -> Mapping[str, Tensor]:
        """Return learned channel weights by name or path; raises WeightsUnavailable."""
        if name not in self._heads:
            self._allowed.weight(name)
            found = self._pretrained.heads(name)
            self._heads[name] = {key: tensor.to(self._device) for key, tensor in found.items()}
        return self._heads[name]

    def faces(self, source: FaceSource) -> FaceNetwork:
        """Return the landmark network of a source; raises WeightsUnavailable."""
        if source not in self._faces:
            self._allowed.weight(source.weights)
            self._faces[source] = placed(self._pretrained.face_network(source), self._device)
        return self._faces[source]


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
