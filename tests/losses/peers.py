"""Losses as their authors define them, in plain torch and nothing of ours: what recipes must equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.losses.recipe_scene import STAGES, Scene, State

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
POOLS = {"vgg16": (4, 9, 16, 23, 30), "vgg19": (4, 9, 18, 27, 36)}


def max_pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2, 2)


def vgg(
    name: str,
    state: State,
    x: Tensor,
    *,
    imagenet: bool = True,
    pool: Callable[[Tensor], Tensor] = max_pool,
) -> dict[int, Tensor]:
    """Outputs of torchvision's `features` by index."""
    if imagenet:
        mean, std = (torch.tensor(v, dtype=x.dtype).view(1, 3, 1, 1) for v in IMAGENET)
        x = (x - mean) / std
    found = {}
    for index in range(POOLS[name][-1] + 1):
        if index in POOLS[name]:
            x = pool(x)
        elif f"features.{index}.weight" in state:
            x = F.conv2d(
                x, state[f"features.{index}.weight"], state[f"features.{index}.bias"], padding=1
            )
        else:
            x = F.relu(x)
        found[index] = x
    return found


def perceptual(s: Scene, layers: Mapping[int, float]) -> Tensor:
    """BasicSR's, KAIR's and mmagic's PerceptualLoss: Σ wₖ L1Loss, before ReLU."""
    a, b = vgg("vgg19", s.vgg19, s.sr), vgg("vgg19", s.vgg19, s.hr)
    return torch.stack([w * F.l1_loss(a[k], b[k]) for k, w in layers.items()]).sum()


FIVE = {2: 0.1, 7: 0.1, 16: 1.0, 25: 1.0, 34: 1.0}


def bce(logits: Tensor, real: bool) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def mse(logits: Tensor, real: bool) -> Tensor:
    return F.mse_loss(logits, torch.full_like(logits, float(real)))


def ragan(s: Scene, mean: Callable[[Tensor], Tensor]) -> Tensor:
    """BasicSR's ESRGANModel and, with a mean per position, KAIR's ModelGAN."""
    real, fake = s.d(s.hr).detach(), s.d(s.sr)
    return (bce(real - mean(fake), False) + bce(fake - mean(real), True)) / 2


def artifacts(s: Scene) -> Tensor:
    """LDL's artifacts_opt with get_refined_artifact_map(gt, output, output_ema, 7)."""
    by_ema = (s.hr - s.ema).abs().sum(1, keepdim=True)
    by_sr = (s.hr - s.sr).abs().sum(1, keepdim=True)
    patch = torch.var(by_sr, dim=(-1, -2, -3), keepdim=True) ** (1 / 5)
    windows = F.pad(by_sr, (3, 3, 3, 3), mode="reflect").unfold(2, 7, 1).unfold(3, 7, 1)
    weight = (patch * windows.var(dim=(-1, -2))).masked_fill(by_sr < by_ema, 0.0)
    return F.l1_loss(weight * s.sr, weight * s.hr)


def normalized(v: Tensor) -> Tensor:
    return v / v.mean(dim=(1, 2, 3), keepdim=True)


def enet_texture(a: Tensor, b: Tensor, p: int = 16) -> Tensor:
    """tensorpack's texture_loss on NCHW: space to batch, one Gram matrix a patch, MSE."""

    def grams(v: Tensor) -> Tensor:
        tiles = F.unfold(normalized(v), p, stride=p)  # (N, C·p², patches)
        flat = tiles.transpose(1, 2).reshape(-1, v.shape[1], p * p)
        return flat @ flat.mT

    return F.mse_loss(grams(a), grams(b))


def tv_copied(x: Tensor) -> Tensor:
    """The TVLoss that KAIR and leftthomas/SRGAN share."""
    n, c, h, w = x.shape
    down = (x[:, :, 1:] - x[:, :, : h - 1]).pow(2).sum() / (c * (h - 1) * w)
    right = (x[..., 1:] - x[..., : w - 1]).pow(2).sum() / (c * h * (w - 1))
    return 2 * (down + right) / n


#: Analysis low pass of sym7, as PyWavelets has it (dec_lo).
SYM7 = (
    0.002681814568257878, -0.0010473848886829163, -0.01263630340325193, 0.03051551316596357,
    0.0678926935013727, -0.049552834937127255, 0.017441255086855827, 0.5361019170917628,
    0.767764317003164, 0.2886296317515146, -0.14004724044296152, -0.10780823770381774,
    0.004010244871533663, 0.010268176708511255,
)  # fmt: skip


def swt(images: Tensor) -> Tensor:
    """WGSR's SWTForward(1, sym7, periodic) of Y in 16..235: LL, LH, HL, HH as channels."""
    r, g, b = images[:, 0:1], images[:, 1:2], images[:, 2:]
    y = 16.0 + r * 65.481 + g * 128.553 + b * 24.966
    rec_lo = torch.tensor(SYM7[::-1], dtype=y.dtype)
    dec_hi = rec_lo * torch.tensor([-1.0, 1.0] * 7, dtype=y.dtype)
    taps = torch.stack([rec_lo / rec_lo.sum(), dec_hi.flip(0)])  # correlation: both mirrored
    by_x = F.conv2d(F.pad(y, (6, 7, 0, 0), mode="circular"), taps.view(2, 1, 1, 14))
    by_x = F.pad(by_x, (0, 0, 6, 7), mode="circular")
    return F.conv2d(by_x, taps.view(2, 1, 14, 1).repeat(2, 1, 1, 1), groups=2)


def l2_pool(x: Tensor) -> Tensor:
    hann = torch.tensor([0.5, 1.0, 0.5], dtype=x.dtype)
    kernel = (torch.outer(hann, hann) / 4).expand(x.shape[1], 1, 3, 3)
    return (F.conv2d(x**2, kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


def dists(s: Scene) -> Tensor:
    """piq.DISTS: 1 - Σ (α S₁ + β S₂) over the image and five stages, mean over the batch."""
    stages = [vgg("vgg16", s.vgg16, x, pool=l2_pool) for x in (s.sr, s.hr)]
    pairs = {"image": (s.sr, s.hr)}
    pairs |= {layer: (stages[0][k], stages[1][k]) for layer, k in STAGES.items()}
    total = torch.cat(list(s.heads.values())).sum()
    value = torch.ones(len(s.sr), dtype=s.sr.dtype)
    for layer, (x, y) in pairs.items():
        mx, my = (v.mean((2, 3), keepdim=True) for v in (x, y))
        vx, vy = ((v - m).square().mean((2, 3)) for v, m in ((x, mx), (y, my)))
        cov = ((x - mx) * (y - my)).mean((2, 3))
        mx, my = mx.flatten(1), my.flatten(1)
        s1 = (2 * mx * my + 1e-6) / (mx**2 + my**2 + 1e-6)
        s2 = (2 * cov + 1e-6) / (vx + vy + 1e-6)
        value = (
            value - (s1 * s.heads[f"alpha.{layer}"] + s2 * s.heads[f"beta.{layer}"]).sum(1) / total
        )
    return value.mean()
