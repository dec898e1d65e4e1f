"""Deep image structure and texture similarity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses._features import Features, Pooling, PreprocessingChoice, head, source
from losses._functional import full_precision, image_pair
from losses._registry import register

LAYERS: dict[str, tuple[str, ...]] = {
    "vgg16": ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"),
    "vgg19": ("relu1_2", "relu2_2", "relu3_4", "relu4_4", "relu5_4"),
}
#: The first stage: the image itself, before any preprocessing.
_IMAGE = "image"
#: Keeps both similarities of flat channels at 1.
_EPS = 1e-6


@register("dists", family="perceptual", side="perception", share=(0.0, 1.0), cost="high")
class Dists(nn.Module):
    """1 - Σ_lc (α_lc·t_lc + β_lc·s_lc): texture t and structure s of channels of the image and of VGG.

    t = (2·μ·μ' + 1e-6) / (μ² + μ'² + 1e-6) compares means, s = (2·cov + 1e-6) / (σ² + σ'² + 1e-6)
    variances and covariance over the whole map; l runs over the image itself and five stages of VGG
    (relu1_2, relu2_2, relu3_3, relu4_3, relu5_3 of VGG16) whose poolings are l2; mean over the batch.
    `heads` names the learned α and β: a catalogue name or a path; they hold alpha.<layer> and
    beta.<layer> → (C,), <layer> also `image`, and are divided by their common sum. They were learned
    on torchvision's VGG16. none: texture and structure count the same, so do layers, and channels
    within a layer. Images are not shrunk to 256 px, as piq and the paper's script do; piq and its
    code are pooling l2. Least 16 px with max pooling. Images (N, 3, H, W) in [0, 1]; 0 for equal images,
    at most 2. Computed as Σ α(1 - t) + β(1 - s), which loses no digits near 0. Ding, Ma, Wang,
    Simoncelli, TPAMI 2020.
    """

    def __init__(
        self,
        backbone: Annotated[
            Literal["vgg16", "vgg19"], "pretrained network the features come from"
        ] = "vgg16",
        heads: Annotated[
            str, "learned α and β: a catalogue name, a path on the worker, or none"
        ] = "none",
        weights: Annotated[
            str, "path of your own state dict on the worker; empty: the catalogue's"
        ] = "",
        preprocessing: Annotated[
            PreprocessingChoice, "what the weights expect; own: as the catalogue says"
        ] = "own",
        pooling: Annotated[Pooling, "pooling of the network; l2 is the paper's"] = "l2",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.source = source(backbone, weights, preprocessing, pooling)
        self.layers = LAYERS[backbone]
        self.heads_source = "" if heads == "none" else heads
        self.needs = ("features", "heads") if self.heads_source else ("features",)

    def forward(
        self,
        sr: Tensor,
        hr: Tensor,
        *,
        features: Features,
        heads: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        pairs = {_IMAGE: image_pair(sr, hr)}
        for layer in self.layers:
            a, b = features.pair(layer)
            pairs[layer] = full_precision(a), full_precision(b)
        textures, structures = zip(*(_distances(*pair) for pair in pairs.values()), strict=True)
        both = textures + structures
        if not self.heads_source:
            return torch.stack([distances.mean() for distances in both]).mean()
        learned = torch.cat([self._heads(kind, pairs, heads) for kind in ("alpha", "beta")])
        return (torch.cat(both) * (learned / learned.sum())).sum()

    def head_shapes(self, widths: Mapping[str, int]) -> dict[str, int]:
        """Return the size of each head by its key, for layers of these widths."""
        stages = {_IMAGE: 3} | {layer: widths[layer] for layer in self.layers}
        return {f"{kind}.{x}": width for kind in ("alpha", "beta") for x, width in stages.items()}

    def _heads(
        self,
        kind: str,
        pairs: Mapping[str, tuple[Tensor, Tensor]],
        heads: Mapping[str, Tensor] | None,
    ) -> Tensor:
        found = [
            head(heads, f"{kind}.{layer}", sr, self.heads_source)
            for layer, (sr, _) in pairs.items()
        ]
        return torch.cat(found)


def _distances(sr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
    """Return 1 - t and 1 - s, (C,) each, mean over the batch."""
    mean, hr_mean = (x.mean(dim=(2, 3), keepdim=True) for x in (sr, hr))
    texture = (mean - hr_mean).square() / (mean.square() + hr_mean.square() + _EPS)
    # σ² + σ'² - 2·cov is the variance of the difference.
    spread = _variance(sr, mean) + _variance(hr, hr_mean) + _EPS
    structure = _variance(sr - hr, mean - hr_mean) / spread
    return texture.flatten(1).mean(dim=0), structure.mean(dim=0)


def _variance(x: Tensor, mean: Tensor) -> Tensor:
    # Moving the mean does not change a variance to first order: its gradient, 0, need not be computed.
    # And mse_loss goes over the map once in either direction, where a square needs four passes.
    return F.mse_loss(x, mean.detach().expand_as(x), reduction="none").mean(dim=(2, 3))
