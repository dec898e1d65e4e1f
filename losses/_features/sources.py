"""What names a frozen feature network, so that losses with the same one share its passes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from losses._spec import InvalidParameter, nearest, one_of

Backbone = Literal["vgg16", "vgg19", "resnet18", "resnet50", "squeezenet1_1"]
#: What is done to images in [0, 1] before the first layer; it belongs to the weights.
Preprocessing = Literal[
    "imagenet", "lpips", "range_norm", "symmetric", "caffe", "caffe_rgb", "none"
]
#: The same for a loss's parameter; `own` is what the weights' entry in the catalogue says.
PreprocessingChoice = Literal["own", Preprocessing]
Pooling = Literal["max", "avg", "l2"]
FirstPadding = Literal["zero", "replicate"]


class FeatureSource(NamedTuple):
    """Which frozen network features come from; losses with equal sources share one pass of it."""

    backbone: str
    weights: str = ""  #: a state dict's path on the worker; empty: the catalogue's of the backbone
    preprocessing: str = "own"  #: own: what the catalogue says the weights expect
    pooling: str = "max"  #: max; avg (Gatys; piq's replace_pooling); l2 (DISTS)
    padding: str = "zero"  #: of the first convolution; replicate (traiNNer-redux)


def source(
    backbone: str,
    weights: str = "",
    preprocessing: str = "own",
    pooling: str = "max",
    padding: str = "zero",
) -> FeatureSource:
    """Return the source of these settings; equal preprocessings of two names become one."""
    # (2x - 1 - shift) / scale of LPIPS is ImageNet's mean and deviation to the last digit.
    same = "imagenet" if preprocessing == "lpips" else preprocessing
    return FeatureSource(backbone, weights, same, pooling, padding)


def check_choice(what: str, value: str, known: Iterable[str]) -> None:
    """Raise `InvalidParameter` unless `value` is one of the known."""
    names = tuple(known)
    if value not in names:
        raise InvalidParameter(
            f"No {what} {value!r}; it must be {one_of(names)}.{nearest(value, names)}"
        )
