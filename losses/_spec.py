"""What is known about a loss without building it: its name, conventions, parameters and ranges."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

Side = Literal["distortion", "perception"]
Cost = Literal["low", "medium", "high"]
Kind = Literal["int", "float", "bool", "str", "list", "mapping"]


#: Everything a trainer can hand to `forward` beside SR and HR; other keyword-only arguments of a
#: loss are for callers of their own (a weight map, say).
NEEDS: dict[str, str] = {
    "lr": "the LR batch (N, 3, h, w) in [0, 1] that SR was made from",
    "features": "features of SR and HR of a frozen network (`losses.Features`)",
    "heads": "learned weights of feature channels: layer name to tensors",
    "discriminator": "the network that is trained to tell HR from SR",
    "shrinker": "the network that is trained to make LR from SR",
    "labels": "the class of each sample, (N,) whole numbers from 0",
    "faces": "heat maps of facial landmarks of SR and HR (`losses.Faces`)",
    "averaged": "SR of the generator's running average, (N, 3, H, W), without gradient",
    "step": "the number of optimiser steps taken",
}

#: Needs that are networks trained beside the generator: a loss that has one brings
#: `build_<need>()` and `<need>_loss(sr, hr, network, **needs)`.
TRAINED = ("discriminator", "shrinker")


class UnknownLoss(LookupError):
    """No loss of this name is registered."""


class InvalidParameter(ValueError):
    """A loss was given a parameter it does not have, or a value it cannot take."""


@dataclass(frozen=True)
class Range:
    """Least and greatest accepted number, both included; goes into `Annotated[float, Range(0, 1)]`."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Parameter:
    """One constructor argument of a loss, with everything that is needed to check a value."""

    name: str
    type: Kind
    default: Any = None
    required: bool = False
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    description: str = ""

    def check(self, loss: str, value: object) -> None:
        """Raise `InvalidParameter` unless `value` has the type and lies in the range of this one."""
        where = f"{loss}.{self.name}"
        if not _FITS[self.type](value):
            raise InvalidParameter(f"{where} is {value!r}, but must be {_SAID[self.type]}.")
        if self.choices and value not in self.choices:
            raise InvalidParameter(
                f"{where} is {value!r}, but must be {one_of(self.choices)}.{nearest(value, self.choices)}"
            )
        if isinstance(value, int | float) and not self._in_range(value):
            raise InvalidParameter(f"{where} is {value!r}, but must be {self._range()}.")

    def _in_range(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def _range(self) -> str:
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (("at least", self.low), ("at most", self.high))
            if bound is not None
        ]
        return " and ".join(bounds)


@dataclass(frozen=True)
class LossSpec:
    """A loss term a study can use; `needs` is what the trainer must hand to `forward` by name.

    `may_need` is what only some settings need; `needs_of` a built loss tells which it does.
    """

    name: str
    family: str
    summary: str
    side: Side
    share: tuple[float, float]  #: default search range of its share of the gradient
    needs: tuple[str, ...]
    cost: Cost
    parameters: tuple[Parameter, ...]
    module: type[nn.Module]
    may_need: tuple[str, ...] = ()
    #: What each name of the parameter `preset` fills in where the user left the default.
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    compares: bool = True  #: least where SR equals HR; False for priors and judgements on SR alone
    batch_mean: bool = True  #: a batch is worth the mean of its images, with default settings
    nonnegative: bool = True


@dataclass(frozen=True)
class RecipeTerm:
    """One published weight with the convention it belongs to.

    `weight` belongs to our loss: it is the published weight × `factor`, where conventions differ.
    `note` says what of the original this term does not carry over; empty where the two are equal.
    """

    loss: str
    weight: float
    parameters: Mapping[str, Any] = field(default_factory=dict)
    original: str = ""  #: in the authors' own words: class, parameters, reduction
    factor: float = 1.0
    note: str = ""


@dataclass(frozen=True)
class Recipe:
    """Published loss weights; worth nothing without their conventions, so both are here.

    `notes` tell what besides the losses made the published result: data, networks, averages.
    """

    name: str
    summary: str
    source: str
    terms: tuple[RecipeTerm, ...]
    notes: tuple[str, ...] = ()


def one_of(names: Iterable[str]) -> str:
    """Return "one of a, b, c"."""
    return f"one of {', '.join(names)}"


def nearest(value: object, names: Iterable[str]) -> str:
    """Return " Did you mean b?" when a known name is close to what was written, else nothing."""
    close = difflib.get_close_matches(str(value), list(names), n=1)
    return f" Did you mean {close[0]}?" if close else ""


def _is_number(value: object) -> bool:
    # bool is an int to Python, but a user who writes eps: true has made a mistake.
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_names(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(item, str) for item in value)
    )


def _is_weights(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and _is_number(weight) for key, weight in value.items()
    )


_FITS: dict[Kind, Callable[[Any], bool]] = {
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": _is_number,
    "bool": lambda value: isinstance(value, bool),
    "str": lambda value: isinstance(value, str),
    "list": _is_names,
    # A list of names is short for the mapping that gives each of them weight 1.
    "mapping": lambda value: _is_weights(value) or _is_names(value),
}

_SAID: dict[Kind, str] = {
    "int": "a whole number",
    "float": "a finite number",
    "bool": "true or false",
    "str": "a name",
    "list": "a list of names",
    "mapping": "a mapping of names to numbers, or a list of names",
}
