"""The 68-landmark network of face-api: small, smooth in its input, landmarks as coordinates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from losses._faces import FaceNetwork, Framing
from losses._features import UnsuitableWeights

#: Mean of R, G, B in 0..255 that the network was trained with.
_MEAN = (122.782, 117.001, 104.298)

#: Height and width of the rendered heat maps.
_MAP = 64


class Landmarks68(FaceNetwork):
    """Densely connected, depthwise separable convolutions over 112×112 pixels; frozen.

    Heat maps are 64×64: each landmark's Gaussian exp(-r²/2σ²), highest 1, σ in pixels of the map (1
    as in the maps FAN learns; a larger σ draws landmarks that are far off). The square is the longer
    side of the box of face-api's tiny detector, which was trained to hold all landmarks. Keys of the
    state: `dense{i}.conv{j}.{weight|depthwise|pointwise|bias}`, `fc.{weight|bias}`; numbers of blocks
    and widths are read off it. V. Mühler, "face-api.js", 2018, after Huang et al., CVPR 2017.
    """

    side = 112
    framing = Framing()
    mean: Tensor

    def __init__(self, state: Mapping[str, Tensor], *, sigma: float = 1.0) -> None:
        super().__init__()
        for key in ("dense0.conv0.weight", "dense0.conv0.bias", "fc.weight", "fc.bias"):
            if key not in state:
                raise UnsuitableWeights(f"The weights lack {key}, which landmarks68 needs.")
        self.sigma = sigma
        blocks = _numbered(state, "dense")
        self._blocks = [_numbered(state, f"dense{index}.conv") for index in range(blocks)]
        for key, tensor in state.items():
            self.register_buffer(key.replace(".", "_"), tensor)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1) / 255)
        self.eval()

    def landmarks(self, crops: Tensor) -> Tensor:
        """Return (K, 68, 2): x and y of each landmark in [0, 1] over the crop."""
        x = crops - self.mean
        for index, convolutions in enumerate(self._blocks):
            x = self._block(x, f"dense{index}_conv", convolutions)
        points = F.linear(x.mean(dim=(2, 3)), self._at("fc_weight"), self._at("fc_bias"))
        return points.view(-1, 68, 2)

    def maps(self, crops: Tensor) -> Tensor:
        # Half precision would round a coordinate to a pixel of the crop.
        with torch.autocast(crops.device.type, enabled=False):
            return gaussians(self.landmarks(crops), self.sigma, _MAP)

    def _block(self, x: Tensor, name: str, convolutions: int) -> Tensor:
        """Halve the map, then add each convolution of the sum so far to that sum."""
        total = F.relu(self._convolution(x, f"{name}0", stride=2))
        for index in range(1, convolutions):
            total = total + self._convolution(F.relu(total), f"{name}{index}", stride=1)
        return F.relu(total)

    def _convolution(self, x: Tensor, name: str, *, stride: int) -> Tensor:
        # TensorFlow's "same": at stride 2 an even side is padded at its end alone.
        before = 1 if stride == 1 else x.shape[-1] % 2
        x = F.pad(x, (before, 1, before, 1))
        bias = self._at(f"{name}_bias")
        if hasattr(self, f"{name}_weight"):
            return F.conv2d(x, self._at(f"{name}_weight"), bias, stride)
        x = F.conv2d(x, self._at(f"{name}_depthwise"), stride=stride, groups=x.shape[1])
        return F.conv2d(x, self._at(f"{name}_pointwise"), bias)

    def _at(self, name: str) -> Tensor:
        return self.get_buffer(name)


def gaussians(points: Tensor, sigma: float, size: int) -> Tensor:
    """Return (K, P, size, size): a Gaussian of height 1 around each of (K, P, 2) points in [0, 1]."""
    places = torch.arange(size, device=points.device, dtype=points.dtype) + 0.5
    offsets = (places - points[..., None] * size) / sigma
    across, down = torch.exp(-offsets.square() / 2).unbind(dim=2)
    return down[..., :, None] * across[..., None, :]


def _numbered(state: Mapping[str, Tensor], prefix: str) -> int:
    """Return how many of prefix0, prefix1, ... there are."""
    return len({key.removeprefix(prefix).split(".")[0] for key in state if key.startswith(prefix)})
