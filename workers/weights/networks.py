"""Frozen networks with their weights in place: from the catalogue, or from a user's file."""

from __future__ import annotations

from torch import Tensor

from losses import FeatureSource
from losses._faces import FaceNetwork, FaceSource
from losses._fan import Fan
from losses._features import FeatureNetwork, UnsuitableWeights, network
from losses._landmarks import Landmarks68
from workers.weights.catalogue import CATALOGUE, WeightsUnavailable
from workers.weights.heads import heads_by_layer
from workers.weights.store import load
from workers.weights.user_file import read_state


def feature_network(source: FeatureSource | str) -> FeatureNetwork:
    """Return the pretrained network of a source (or of a backbone's name), frozen.

    `weights` is a name in the catalogue or the path of a state dict; preprocessing `own` is what the
    catalogue says of its weights, and imagenet for a user's file. Raises `WeightsUnavailable`.
    """
    if isinstance(source, str):
        source = FeatureSource(source)
    name = source.weights or source.backbone
    preprocessing = source.preprocessing
    if preprocessing == "own":
        preprocessing = CATALOGUE[name].preprocessing if name in CATALOGUE else "imagenet"
    state = _state(name, source.weights)
    try:
        return network(source.backbone, state, preprocessing, source.pooling, source.padding)
    except UnsuitableWeights as error:
        raise WeightsUnavailable(f"Weights {name} are not of {source.backbone}: {error}") from error


def heads(name: str) -> dict[str, Tensor]:
    """Return learned weights of feature channels by layer: `relu1_2`, or `alpha.relu1_2` for DISTS.

    `name` is in the catalogue (lpips_vgg16, lpips_squeezenet1_1, dists) or the path of a file like
    the published ones. Raises `WeightsUnavailable`.
    """
    if name in CATALOGUE:
        return load(name)
    try:
        return heads_by_layer(_state(name, name))
    except (KeyError, ValueError, RuntimeError) as error:
        raise WeightsUnavailable(f"Weights {name} are no heads: {error}.") from error


def face_network(source: FaceSource | str) -> FaceNetwork:
    """Return the face network of a source, frozen; a name is short for its defaults.

    landmarks68 comes from the catalogue, or from a state dict of its layout at `weights`; fan needs
    the path of one in `weights`. Raises `WeightsUnavailable`.
    """
    if isinstance(source, str):
        source = FaceSource(source)
    if source.network == "fan" and not source.weights:
        raise WeightsUnavailable(
            "No package holds the weights of fan; give the path of its state dict, or use landmarks68."
        )
    try:
        if source.network == "fan":
            return Fan(_state("", source.weights))
        state = _state("face_landmark_68", source.weights)
        return Landmarks68(state, sigma=source.sigma)
    except UnsuitableWeights as error:
        raise WeightsUnavailable(
            f"Weights {source.weights} are not of {source.network}: {error}"
        ) from error


def _state(name: str, given: str) -> dict[str, Tensor]:
    """Return the tensors of a user's file, or of `name` in the catalogue where none is given."""
    if given and given not in CATALOGUE:
        return read_state(given)
    return load(given or name)
