"""The register of losses: filled by `@register`, read by `build`; nothing is written down twice.

Parameters come from the constructor's signature, needs from the keyword-only arguments of `forward`
(those with a default are needed by some settings only), the summary from the docstring's first
paragraph.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from torch import nn

from losses._spec import (
    NEEDS,
    Cost,
    InvalidParameter,
    Kind,
    LossSpec,
    Parameter,
    Range,
    Side,
    UnknownLoss,
    nearest,
    one_of,
)

SPECS: dict[str, LossSpec] = {}


Loss = TypeVar("Loss", bound=type[nn.Module])

_KINDS: dict[Any, Kind] = {bool: "bool", int: "int", float: "float", str: "str"}


def register(
    name: str,
    *,
    family: str,
    side: Side,
    share: tuple[float, float],
    cost: Cost,
    compares: bool = True,
    batch_mean: bool = True,
    nonnegative: bool = True,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[Loss], Loss]:
    """Enter the decorated module under `name`; the file needs nothing else to be a loss."""

    def enter(module: Loss) -> Loss:
        if name in SPECS:
            raise ValueError(f"Loss {name} is registered twice: {SPECS[name].module} and {module}.")
        needs, may_need = _needs(module)
        SPECS[name] = LossSpec(
            name=name,
            family=family,
            summary=_summary(module),
            side=side,
            share=share,
            needs=needs,
            may_need=may_need,
            cost=cost,
            parameters=_parameters(module),
            module=module,
            compares=compares,
            batch_mean=batch_mean,
            nonnegative=nonnegative,
            presets=presets or {},
        )
        return module

    return enter


def build(name: str, **parameters: Any) -> nn.Module:
    """Return the loss `name` as a module, ready for `loss(sr, hr, **needs)`.

    Raises `UnknownLoss` or `InvalidParameter`, each a sentence with the known names or the range.
    """
    if name not in SPECS:
        raise UnknownLoss(f"No loss {name!r}; known are {', '.join(SPECS)}.{nearest(name, SPECS)}")
    spec = SPECS[name]
    known = {parameter.name: parameter for parameter in spec.parameters}
    for key, value in parameters.items():
        if key not in known:
            raise InvalidParameter(
                f"{name} has no parameter {key!r}; it has {', '.join(known) or 'none'}."
                f"{nearest(key, known)}"
            )
        known[key].check(name, value)
    missing = [p.name for p in spec.parameters if p.required and p.name not in parameters]
    if missing:
        raise InvalidParameter(f"{name} needs a value for {', '.join(missing)}.")
    return spec.module(**parameters)


def _summary(module: type[nn.Module]) -> str:
    """Return the docstring's first paragraph, on one line."""
    return " ".join((inspect.getdoc(module) or "").split("\n\n")[0].split())


def needs_of(loss: nn.Module) -> tuple[str, ...]:
    """Return what this built loss must be given by name, of `losses._spec.NEEDS`.

    A loss whose settings decide says so in its attribute `needs`.
    """
    own: tuple[str, ...] | None = getattr(loss, "needs", None)
    return _needs(type(loss))[0] if own is None else own


def _needs(module: type[nn.Module]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what `forward` always needs, and what only some settings need."""
    arguments = [
        argument
        for argument in inspect.signature(module.forward).parameters.values()
        if argument.kind is inspect.Parameter.KEYWORD_ONLY and argument.name in NEEDS
    ]
    always = tuple(a.name for a in arguments if a.default is inspect.Parameter.empty)
    return always, tuple(a.name for a in arguments if a.name not in always)


def _parameters(module: type[nn.Module]) -> tuple[Parameter, ...]:
    # Without a constructor of its own a class shows nn.Module's (*args, **kwargs).
    if "__init__" not in vars(module):
        return ()
    constructor = vars(module)["__init__"]
    hints = typing.get_type_hints(constructor, include_extras=True)
    arguments = list(inspect.signature(constructor).parameters.values())[1:]
    return tuple(_parameter(argument, hints[argument.name]) for argument in arguments)


def _parameter(argument: inspect.Parameter, hint: Any) -> Parameter:
    extras: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        extras = tuple(rest)
    bounds = next((extra for extra in extras if isinstance(extra, Range)), Range())
    required = argument.default is inspect.Parameter.empty
    return Parameter(
        name=argument.name,
        type=_kind(hint),
        default=None if required else argument.default,
        required=required,
        low=bounds.low,
        high=bounds.high,
        choices=get_args(hint) if get_origin(hint) is Literal else (),
        description=next((extra for extra in extras if isinstance(extra, str)), ""),
    )


def _kind(hint: Any) -> Kind:
    """Return the catalogue's word for a type hint; mappings may also be written as lists."""
    if hint in _KINDS:
        return _KINDS[hint]
    origins = [get_origin(hint)]
    if origins[0] in (Union, types.UnionType):
        origins = [get_origin(member) for member in get_args(hint)]
    if origins == [Literal]:
        return "str"
    if Mapping in origins:
        return "mapping"
    if origins == [Sequence]:
        return "list"
    raise TypeError(
        f"A loss parameter cannot be {hint}; use {one_of(sorted(set(_KINDS.values())))}."
    )
