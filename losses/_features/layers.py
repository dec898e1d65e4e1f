"""Which layers a backbone has, and what a loss's weights of layers mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from losses._features.resnet import resnet_layers
from losses._features.squeezenet import squeezenet_layers
from losses._features.vgg import vgg_layers
from losses._spec import InvalidParameter, nearest

#: The layer a loss reads when the user names none: early enough to be cheap, late enough for texture.
DEFAULT_LAYER: dict[str, str] = {
    "vgg16": "relu2_2",
    "vgg19": "relu2_2",
    "resnet18": "layer1",
    "resnet50": "layer1",
    "squeezenet1_1": "fire3",
}


class UnknownLayer(InvalidParameter):
    """The feature network has no layer of this name."""


def layers_of(backbone: str) -> tuple[str, ...]:
    """Return the names of a backbone's layers in order, without building it."""
    if backbone.startswith("vgg"):
        return vgg_layers(backbone)
    if backbone.startswith("resnet"):
        return resnet_layers(backbone)
    return squeezenet_layers()


def layer_weights(
    loss: str,
    backbone: str,
    layers: Mapping[str, float] | Sequence[str],
    default: Sequence[str] = (),
) -> dict[str, float]:
    """Return layer names with their weights; a list weighs each 1, an empty one is `default`.

    Without `default` it is the backbone's `DEFAULT_LAYER`. Raises `UnknownLayer` for names `backbone`
    does not have, `InvalidParameter` for weights that are negative or all zero. Layers of weight zero
    are left out.
    """
    given = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    given = given or dict.fromkeys(default or (DEFAULT_LAYER[backbone],), 1.0)
    known = layers_of(backbone)
    for layer, weight in given.items():
        check_layer(f"{loss}.layers: {backbone}", layer, known)
        if weight < 0:
            raise InvalidParameter(f"{loss}.layers.{layer} is {weight:g}, but must be at least 0.")
    kept = {layer: float(weight) for layer, weight in given.items() if weight > 0}
    if not kept:
        raise InvalidParameter(f"{loss}.layers has only zeros; give one layer a weight.")
    return kept


def check_layer(owner: str, layer: str, known: Sequence[str]) -> None:
    """Raise `UnknownLayer` with the known names unless `layer` is one of them."""
    if layer not in known:
        raise UnknownLayer(
            f"{owner} has no layer {layer!r}; it has {', '.join(known)}.{nearest(layer, known)}"
        )
