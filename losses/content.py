"""Distance in the features of a pretrained network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from losses._features import (
    Backbone,
    Features,
    Pooling,
    PreprocessingChoice,
    layer_weights,
    source,
)
from losses._functional import (
    distance,
    full_precision,
    image_pair,
    unit_mean,
    unit_norm,
)
from losses._registry import register
from losses._spec import InvalidParameter, Range

FeatureCriterion = Literal["l1", "l2", "frobenius", "survey", "charbonnier", "pdl"]
Layers = Mapping[str, float] | Sequence[str]


class _Convention(NamedTuple):
    """What a preset decides."""

    backbone: Backbone = "vgg16"
    layers: Layers = ()
    criterion: FeatureCriterion = "l1"
    feature_scale: float = 1.0


_FIVE = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}
_PRESETS = {
    "": _Convention(),
    "srgan": _Convention("vgg19", {"relu5_4": 1.0}, "l2", 1 / 12.75),
    "esrgan": _Convention("vgg19", {"conv5_4": 1.0}),
    "real-esrgan": _Convention("vgg19", _FIVE),
}


@register(
    "content",
    family="content",
    side="perception",
    share=(0.0, 1.0),
    cost="high",
    presets={name: preset._asdict() for name, preset in _PRESETS.items() if name},
)
class Content(nn.Module):
    """Weighted sum over layers of the distance of a pretrained network's features φ of SR and HR.

    criterion l1: mean |Δφ| (ESRGAN, BasicSR). l2: mean Δφ², no 1/2 (SRGAN). frobenius: √ΣΔφ² over
    the whole batch (BasicSR's fro). survey: Euclidean norm of each sample / HWC, mean over the batch.
    charbonnier: mean √(Δφ² + eps²) (traiNNer-redux; its eps 1e-12 is ours 1e-6), least eps, not 0.
    pdl: mean over N, C of Σ|Δ cumulated φ/Σφ| (projected distribution, traiNNer-redux; after ReLU).
    reduction channel_sum multiplies l1, l2, charbonnier by C: piq's spatial mean, summed over C.
    Layers: `conv5_4` is before ReLU (ESRGAN), `relu5_4` after it (SRGAN), `pool5` after pooling;
    ResNet `layer3_1_pre` and `layer3_1`, SqueezeNet `fire5_pre` and `fire5` likewise; no layer: an
    early one a CPU can afford. scaling unit_mean divides each sample's features by their mean
    (EnhanceNet; only sensible after a ReLU), unit_norm each place's by their norm over C (LPIPS,
    piq's normalize_features); feature_scale multiplies them after that (SRGAN 1/12.75, neosr 0.1).
    A preset fills what is left at its default: srgan (VGG19 relu5_4, l2, 1/12.75), esrgan (VGG19
    conv5_4, l1), real-esrgan (VGG19 conv1_2 .1, conv2_2 .1, conv3_4, conv4_4, conv5_4, l1).
    Images (N, 3, H, W) in [0, 1]; 0 for equal images. Johnson, Alahi, Fei-Fei, "Perceptual losses",
    ECCV 2016; Ledig et al., SRGAN, CVPR 2017; Wang et al., ESRGAN, 2018; Wang, Chen, Hoi, 2020.
    """

    def __init__(
        self,
        backbone: Annotated[Backbone, "pretrained network the features come from"] = "vgg16",
        layers: Annotated[
            Mapping[str, float] | Sequence[str], "weight of each layer, or their names"
        ] = (),
        criterion: Annotated[FeatureCriterion, "distance of the features"] = "l1",
        scaling: Annotated[
            Literal["raw", "unit_mean", "unit_norm"], "what features are divided by first"
        ] = "raw",
        reduction: Annotated[
            Literal["mean", "channel_sum"], "whether channels are averaged or summed (piq)"
        ] = "mean",
        feature_scale: Annotated[
            float, Range(1e-6, 1e6), "what features are multiplied by, after scaling"
        ] = 1.0,
        preset: Annotated[
            Literal["", "srgan", "esrgan", "real-esrgan"],
            "published convention that fills what is left at its default",
        ] = "",
        weights: Annotated[
            str, "path of your own state dict on the worker; empty: the catalogue's"
        ] = "",
        preprocessing: Annotated[
            PreprocessingChoice, "what the weights expect; own: as the catalogue says"
        ] = "own",
        pooling: Annotated[Pooling, "pooling of the network"] = "max",
        padding: Annotated[
            Literal["zero", "replicate"], "around images (replicate: traiNNer-redux)"
        ] = "zero",
        eps: Annotated[float, Range(1e-12, 1), "of charbonnier, squared under the root"] = 1e-6,
    ) -> None:
        super().__init__()
        given = _Convention(backbone, layers, criterion, feature_scale)
        chosen = _filled(given, _PRESETS[preset])
        if reduction == "channel_sum" and chosen.criterion not in ("l1", "l2", "charbonnier"):
            raise InvalidParameter(
                f"content.reduction is 'channel_sum', but {chosen.criterion} is no mean over channels; "
                "use mean, or criterion l1, l2 or charbonnier."
            )
        self.backbone: Backbone = chosen.backbone
        self.source = source(chosen.backbone, weights, preprocessing, pooling, padding)
        self.weights = layer_weights("content", chosen.backbone, chosen.layers)
        self.layers = tuple(self.weights)
        self.criterion: FeatureCriterion = chosen.criterion
        self.feature_scale = chosen.feature_scale
        self.scaling = scaling
        self.reduction = reduction
        self.eps = eps

    def forward(self, sr: Tensor, hr: Tensor, *, features: Features) -> Tensor:
        image_pair(sr, hr)
        parts = [weight * self._distance(*features.pair(x)) for x, weight in self.weights.items()]
        return torch.stack(parts).sum()

    def _distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        value = self._compared(self._scaled(sr), self._scaled(hr))
        return value * sr.shape[1] if self.reduction == "channel_sum" else value

    def _scaled(self, features: Tensor) -> Tensor:
        features = full_precision(features)
        if self.scaling == "unit_mean":
            features = unit_mean(features)
        elif self.scaling == "unit_norm":
            features = unit_norm(features)
        return features if self.feature_scale == 1 else features * self.feature_scale

    def _compared(self, sr: Tensor, hr: Tensor) -> Tensor:
        if self.criterion == "charbonnier":
            return torch.sqrt((sr - hr).square() + self.eps**2).mean()
        if self.criterion == "pdl":
            return (_cumulated(sr) - _cumulated(hr)).abs().sum(dim=-1).mean()
        return distance(sr, hr, self.criterion)


def _filled(given: _Convention, preset: _Convention) -> _Convention:
    """Return the preset, with what the user gave in place of its own."""
    plain = _Convention()
    own: dict[str, Any] = {
        name: value
        for name, value in given._asdict().items()
        if value and value != getattr(plain, name)
    }
    return preset._replace(**own)


def _cumulated(features: Tensor) -> Tensor:
    """Return the running sums, along the pixels row by row, of each channel's share of its sum."""
    flat = features.flatten(2)
    return torch.cumsum(flat / (flat.sum(dim=-1, keepdim=True) + 1e-14), dim=-1)
