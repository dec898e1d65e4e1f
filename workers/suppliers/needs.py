"""What supplies each need of the losses, once per step however many terms ask for it.

A need is a name of `losses.NEEDS`. A new one is one entry in `SUPPLIERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from losses import FeatureSource, needs_of
from losses._faces import Faces, Windows
from workers.suppliers.networks import Networks
from workers.suppliers.step import Step

if TYPE_CHECKING:
    from losses import Features

#: Gives each term that needs it one thing, by the key of the term.
Supplier: TypeAlias = Callable[[Step], Mapping[str, object]]
Build: TypeAlias = Callable[[Mapping[str, Any], Networks, Mapping[str, nn.Module]], Supplier]


class DefinitionError(Exception):
    """The study asks for something this worker's code cannot build."""


def suppliers(
    losses: Mapping[str, nn.Module], networks: Networks, companions: Mapping[str, nn.Module]
) -> dict[str, Supplier]:
    """Return a supplier for every need of these losses; raises DefinitionError for one unknown."""
    needs = {key: needs_of(loss) for key, loss in losses.items()}
    built: dict[str, Supplier] = {}
    for need in sorted({need for wanted in needs.values() for need in wanted}):
        if need not in SUPPLIERS:
            raise DefinitionError(f"no supplier gives `{need}`; known are {', '.join(SUPPLIERS)}")
        asking = {key: loss for key, loss in losses.items() if need in needs[key]}
        built[need] = SUPPLIERS[need](asking, networks, companions)
    return built


def features(
    losses: Mapping[str, Any], networks: Networks, companions: Mapping[str, nn.Module]
) -> Supplier:
    """Supply features: one pass per source, down to the deepest layer any of its terms reads."""
    sources: dict[str, FeatureSource] = {key: loss.source for key, loss in losses.items()}
    layers: dict[FeatureSource, set[str]] = {}
    for key, loss in losses.items():
        layers.setdefault(sources[key], set()).update(loss.layers)
    loaded = {source: networks.features(source) for source in layers}

    def supply(step: Step) -> Mapping[str, Features]:
        found = {
            source: network.compare(step.sr, step.hr, layers[source])
            for source, network in loaded.items()
        }
        return {key: found[source] for key, source in sources.items()}

    return supply


def heads(
    losses: Mapping[str, Any], networks: Networks, companions: Mapping[str, nn.Module]
) -> Supplier:
    """Supply learned weights of feature channels, which no step changes."""
    loaded = {key: networks.heads(loss.heads_source) for key, loss in losses.items()}
    return lambda step: loaded


def faces(
    losses: Mapping[str, Any], networks: Networks, companions: Mapping[str, nn.Module]
) -> Supplier:
    """Supply heat maps of faces: one pass per source and way of finding faces."""
    # In the terms' order: the order of passes is that in which their gradients are added up.
    asked = {key: (loss.face_source, loss.faces == "whole") for key, loss in losses.items()}
    loaded = {source: networks.faces(source) for source, _ in asked.values()}

    def supply(step: Step) -> Mapping[str, Faces]:
        found = {
            (source, whole): loaded[source].compare(step.sr, step.hr, windows(step, whole=whole))
            for source, whole in dict.fromkeys(asked.values())
        }
        return {key: found[ask] for key, ask in asked.items()}

    return supply


def windows(step: Step, *, whole: bool) -> Windows:
    """Return where the faces of a step are: each whole image is one, or where they were found."""
    if whole:
        count, _, height, width = step.hr.shape
        return Windows.whole(count, height, width)
    if step.batch.windows is None:
        raise DefinitionError("nobody looked for faces in these photos; set faces to whole")
    return step.batch.windows


def looks_for_faces(losses: Mapping[str, nn.Module]) -> bool:
    """Whether any loss is to be told where in the photographs faces are."""
    return any(
        "faces" in needs_of(loss) and getattr(loss, "faces", "") == "detect"
        for loss in losses.values()
    )


def trained(
    losses: Mapping[str, Any], networks: Networks, companions: Mapping[str, nn.Module]
) -> Supplier:
    """Supply each term with the network that is trained for it."""
    own = {key: companions[key] for key in losses}
    return lambda step: own


def of_step(read: Callable[[Step], object]) -> Build:
    """Supply all terms with one thing that is read off the step."""

    def build(
        losses: Mapping[str, Any], networks: Networks, companions: Mapping[str, nn.Module]
    ) -> Supplier:
        return lambda step: dict.fromkeys(losses, read(step))

    return build


def labels(step: Step) -> Tensor:
    """Return the class of each crop."""
    if step.batch.labels is None:
        raise DefinitionError("the photos have no classes; name them in data.classes")
    return step.batch.labels


@torch.no_grad()
def averaged(step: Step) -> Tensor:
    """Return SR of the generator's running average; of the generator itself where none is kept."""
    if step.average is None:
        return step.sr.detach()
    made: Tensor = step.average(step.lr)
    return made.float()


#: Need → what builds its supplier from the losses that have it.
SUPPLIERS: dict[str, Build] = {
    "lr": of_step(lambda step: step.lr),
    "features": features,
    "heads": heads,
    "discriminator": trained,
    "shrinker": trained,
    "labels": of_step(labels),
    "faces": faces,
    "averaged": of_step(averaged),
    "step": of_step(lambda step: step.number),
}
