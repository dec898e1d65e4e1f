"""FAN, the face alignment network: stacked hourglasses that draw one heat map per landmark."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses._faces import FaceNetwork, Framing
from losses._features import UnsuitableWeights


class Fan(FaceNetwork):
    """The last stack's 64×64 heat maps of 256×256 crops, as the network gives them; frozen.

    Numbers of stacks, depth of the hourglasses and widths are read off the state dict; its keys are
    those of the network's authors (face-alignment's `2DFAN`: `conv1`, `m0.b1_4.bn1`, `l0`, ...). The
    square is theirs too: 200/195 of width plus height of the box, its centre 0.12 heights higher.
    Bulat, Tzimiropoulos, "How far are we from solving the 2D & 3D face alignment problem?", ICCV 2017.
    """

    side = 256
    framing = Framing(reach=400 / 195, lift=0.12, by="mean")

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.first = _convolution(state, "conv1", stride=2, padding=3)
        self.first_norm = _Normalisation(state, "bn1")
        self.early = nn.ModuleList([_Block(state, f"conv{index}") for index in (2, 3, 4)])
        stacks = max(1, sum(re.fullmatch(r"l\d+\.weight", key) is not None for key in state))
        self.stacks = nn.ModuleList([_Stack(state, index) for index in range(stacks)])
        self.requires_grad_(False)
        self.eval()

    def maps(self, crops: Tensor) -> Tensor:
        x = F.relu(self.first_norm(self.first(crops)))
        for index, block in enumerate(self.early):
            x = block(x)
            if index == 0:
                x = F.avg_pool2d(x, 2)
        maps = x
        for stack in self.stacks:
            maps, x = stack(x)
        return maps


class _Stack(nn.Module):
    """One hourglass with its heat maps; what it hands on is its input with both added."""

    def __init__(self, state: Mapping[str, Tensor], index: int) -> None:
        super().__init__()
        levels = re.findall(rf"\bm{index}\.b1_(\d+)\.", " ".join(state))
        depth = max(map(int, levels), default=1)
        self.hourglass = _Hourglass(state, f"m{index}", depth)
        self.top = _Block(state, f"top_m_{index}")
        self.last = _convolution(state, f"conv_last{index}")
        self.norm = _Normalisation(state, f"bn_end{index}")
        self.maps = _convolution(state, f"l{index}")
        hands_on = f"bl{index}.weight" in state
        self.back = _convolution(state, f"bl{index}") if hands_on else None
        self.maps_back = _convolution(state, f"al{index}") if hands_on else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen = F.relu(self.norm(self.last(self.top(self.hourglass(x)))))
        maps = self.maps(seen)
        if self.back is None or self.maps_back is None:
            return maps, x
        return maps, x + self.back(seen) + self.maps_back(maps)


class _Hourglass(nn.Module):
    """Half the resolution, `level` times over, and back up with what each size knew added."""

    def __init__(self, state: Mapping[str, Tensor], key: str, level: int) -> None:
        super().__init__()
        self.beside = _Block(state, f"{key}.b1_{level}")
        self.down = _Block(state, f"{key}.b2_{level}")
        self.inner: nn.Module = (
            _Hourglass(state, key, level - 1) if level > 1 else _Block(state, f"{key}.b2_plus_1")
        )
        self.up = _Block(state, f"{key}.b3_{level}")

    def forward(self, x: Tensor) -> Tensor:
        low = self.up(self.inner(self.down(F.avg_pool2d(x, 2))))
        added: Tensor = self.beside(x) + F.interpolate(low, scale_factor=2, mode="nearest")
        return added


class _Block(nn.Module):
    """Three pre-activated 3×3 convolutions in a row, their outputs side by side, on top of the input."""

    def __init__(self, state: Mapping[str, Tensor], key: str) -> None:
        super().__init__()
        self.norms = nn.ModuleList([_Normalisation(state, f"{key}.bn{i}") for i in (1, 2, 3)])
        self.convolutions = nn.ModuleList(
            [_convolution(state, f"{key}.conv{i}", padding=1) for i in (1, 2, 3)]
        )
        self.shortcut: nn.Module = nn.Identity()
        if f"{key}.downsample.2.weight" in state:
            self.shortcut = nn.Sequential(
                _Normalisation(state, f"{key}.downsample.0"),
                nn.ReLU(),
                _convolution(state, f"{key}.downsample.2"),
            )

    def forward(self, x: Tensor) -> Tensor:
        found, row = [], x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            row = convolution(F.relu(norm(row)))
            found.append(row)
        added: Tensor = torch.cat(found, dim=1) + self.shortcut(x)
        return added


class _Normalisation(nn.Module):
    """Batch normalisation with the statistics it was trained to, as one scale and shift."""

    scale: Tensor
    shift: Tensor

    def __init__(self, state: Mapping[str, Tensor], key: str) -> None:
        super().__init__()
        names = ("weight", "bias", "running_mean", "running_var")
        weight, bias, mean, variance = (_tensor(state, f"{key}.{name}") for name in names)
        scale = weight / torch.sqrt(variance + 1e-5)  # torch's own ε
        self.register_buffer("scale", scale.view(1, -1, 1, 1))
        self.register_buffer("shift", (bias - mean * scale).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


def _convolution(
    state: Mapping[str, Tensor], key: str, *, stride: int = 1, padding: int = 0
) -> nn.Conv2d:
    weight, bias = _tensor(state, f"{key}.weight"), state.get(f"{key}.bias")
    outputs, inputs, height, width = weight.shape
    # On the meta device nothing is initialised, so that no random numbers are used up either.
    convolution = nn.Conv2d(
        inputs,
        outputs,
        (height, width),
        stride=stride,
        padding=padding,
        bias=bias is not None,
        device="meta",
    )
    tensors = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    convolution.load_state_dict(tensors, assign=True)
    return convolution


def _tensor(state: Mapping[str, Tensor], key: str) -> Tensor:
    if key not in state:
        raise UnsuitableWeights(f"The weights lack {key}, which fan needs.")
    return state[key]
