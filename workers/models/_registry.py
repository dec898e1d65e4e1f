"""Architectures by name; what a study may set is read off each constructor."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from torch import nn

from service.contract.vocabulary import ModelInfo, Parameter

if TYPE_CHECKING:
    from collections.abc import Callable

Architecture = TypeVar("Architecture", bound=nn.Module)

SPECS: dict[str, ModelInfo] = {}
_CLASSES: dict[str, type[nn.Module]] = {}
_TYPE_NAMES: dict[type, Literal["int", "float", "bool", "str"]] = {
    int: "int",
    float: "float",
    bool: "bool",
    str: "str",
}


class UnknownModel(Exception):
    """No architecture has this name, or it does not come at this scale."""


class InvalidModelParameter(Exception):
    """An architecture does not take this argument, or not this value."""


@dataclass(frozen=True, slots=True)
class Range:
    """What a constructor argument accepts and means: `Annotated[int, Range(1, 64, "Width.")]`."""

    low: float
    high: float
    description: str


def register(
    name: str, *, scales: tuple[int, ...] = (2, 3, 4)
) -> Callable[[type[Architecture]], type[Architecture]]:
    """Offer a module class to studies under `name`.

    Its constructor takes `scale` and, by keyword, parameters annotated with a Range (numbers) or a
    Literal (choices). The first paragraph of its docstring becomes the summary.
    """

    def _register(cls: type[Architecture]) -> type[Architecture]:
        summary = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        SPECS[name] = ModelInfo(
            name=name, summary=summary, scales=list(scales), parameters=_parameters(cls)
        )
        _CLASSES[name] = cls
        return cls

    return _register


def build(name: str, *, scale: int, **parameters: Any) -> nn.Module:
    """Return a fresh generator: RGB (N, 3, h, w) in [0, 1] to (N, 3, h·scale, w·scale), unclamped.

    Initial weights come from torch's global generator; seed it before. Raises UnknownModel and
    InvalidModelParameter.
    """
    spec = SPECS.get(name)
    if spec is None:
        raise UnknownModel(f"model.name `{name}` is unknown; {_known(name, list(SPECS))}")
    if scale not in spec.scales:
        scales = ", ".join(map(str, spec.scales))
        raise UnknownModel(f"model `{name}` does not come at scale {scale}; use one of {scales}")
    accepted = {parameter.name: parameter for parameter in spec.parameters}
    for key, value in parameters.items():
        if key not in accepted:
            raise InvalidModelParameter(
                f"model `{name}` has no parameter `{key}`; {_known(key, list(accepted))}"
            )
        _check(name, accepted[key], value)
    return _CLASSES[name](scale=scale, **parameters)


def _check(model: str, parameter: Parameter, value: Any) -> None:
    where = f"model.parameters.{parameter.name} of `{model}`"
    fits = {
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, int | float) and not isinstance(value, bool),
        "bool": isinstance(value, bool),
        "str": isinstance(value, str),
    }[parameter.type]
    if not fits:
        raise InvalidModelParameter(f"{where} is {value!r}; write a value of type {parameter.type}")
    low, high = parameter.low, parameter.high
    if low is not None and high is not None and not low <= value <= high:
        raise InvalidModelParameter(f"{where} is {value!r}; choose between {low:g} and {high:g}")
    if parameter.choices and value not in parameter.choices:
        raise InvalidModelParameter(
            f"{where} is {value!r}; {_known(str(value), parameter.choices)}"
        )


def _known(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    hint = f"did you mean `{near[0]}`? " if near else ""
    return f"{hint}Known: {', '.join(sorted(known)) or 'none'}"


def _parameters(cls: type[nn.Module]) -> list[Parameter]:
    hints = get_type_hints(cls.__init__, include_extras=True)
    arguments = list(inspect.signature(cls).parameters.values())
    return [_parameter(arg, hints[arg.name]) for arg in arguments if arg.name != "scale"]


def _parameter(argument: inspect.Parameter, hint: Any) -> Parameter:
    extra = next((x for x in getattr(hint, "__metadata__", ()) if isinstance(x, Range)), None)
    kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    choices = list(get_args(kind)) if get_origin(kind) is Literal else []
    return Parameter(
        name=argument.name,
        type="str" if choices else _TYPE_NAMES[kind],
        default=argument.default,
        low=extra.low if extra else None,
        high=extra.high if extra else None,
        choices=choices,
        description=extra.description if extra else "",
    )
