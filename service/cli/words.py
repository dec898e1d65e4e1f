"""`srtune losses|models|metrics|recipes|workers`: what a study may name, and who trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.options import DEFAULT_SERVER, Json, Server, Token, connect

if TYPE_CHECKING:
    from rich.console import RenderableType

    from service.contract.vocabulary import LossInfo, MetricInfo, ModelInfo, Parameter, Vocabulary

Name = Annotated[str | None, typer.Argument(metavar="NAME", help="Only this one, in detail.")]
Local = Annotated[
    bool, typer.Option("--local", help="What is installed here, without asking a service.")
]


def losses(
    name: Name = None,
    local: Local = False,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """List the losses a study may use, or one with its parameters."""
    _answer("losses", name, _words(local, server, token), as_json=as_json)


def models(
    name: Name = None,
    local: Local = False,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """List the architectures a study may train, or one with its parameters."""
    _answer("models", name, _words(local, server, token), as_json=as_json)


def metrics(
    name: Name = None,
    local: Local = False,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """List the metrics a study may optimise or report."""
    _answer("metrics", name, _words(local, server, token), as_json=as_json)


def recipes(
    name: Name = None,
    local: Local = False,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """List published weights with the conventions they belong to."""
    _answer("recipes", name, _words(local, server, token), as_json=as_json)


def workers(server: Server = DEFAULT_SERVER, token: Token = None, as_json: Json = False) -> None:
    """List the workers the service knows, and what they train."""
    import time

    from service.cli.output import answer, duration
    from service.cli.tables import plain_table

    with connect(server, token) as client:
        found = client.workers()
    table = plain_table("name", "host", "state", "device", "slots", "it/s", "trains", "heard of")
    for view in found:
        devices = ", ".join(device.name for device in view.devices)
        heard = f"{duration(max(0.0, time.time() - view.last_seen))} ago"
        rate = f"{view.steps_per_second:.1f}"
        holds = ", ".join(view.holds)
        table.add_row(
            view.name, view.host, view.state.value, devices, str(view.slots), rate, holds, heard
        )
    shown = table if found else "no workers yet; `srtune worker` starts one"
    answer(found, shown, as_json=as_json)


def _words(local: bool, server: str, token: str | None) -> Vocabulary:
    if local:
        from workers.vocabulary import vocabulary

        return vocabulary()
    with connect(server, token) as client:
        return client.vocabulary()


def _answer(kind: str, name: str | None, words: Vocabulary, *, as_json: bool) -> None:
    from service.cli.output import answer

    entries: Mapping[str, Any] = getattr(words, kind)
    if name is None:
        answer(list(entries.values()), _overview(kind, words), as_json=as_json)
        return
    entry = _known(kind, name, entries)
    answer(entry, _detail(entry), as_json=as_json)


def _known(kind: str, name: str, entries: Mapping[str, Any]) -> Any:
    from service.cli.errors import WrongUsage
    from service.contract.naming import nearest

    if name in entries:
        return entries[name]
    near = nearest(name, entries)
    hint = f"did you mean {near}?" if near else f"known: {', '.join(sorted(entries))}"
    raise WrongUsage(f"there is no {name!r} among the {kind}; {hint}")


def _overview(kind: str, words: Vocabulary) -> RenderableType:
    from service.cli import recipe_tables, tables

    if kind == "recipes":
        return recipe_tables.published(list(words.recipes.values()))
    heads, row = _COLUMNS[kind]
    table = tables.plain_table(*heads, wraps=heads[-1:])
    for entry in getattr(words, kind).values():
        table.add_row(*row(entry))
    return table


def _loss(entry: LossInfo) -> Sequence[str]:
    share = f"{entry.share[0]:g} – {entry.share[1]:g}"
    return entry.name, entry.side, share, entry.cost, entry.summary


def _model(entry: ModelInfo) -> Sequence[str]:
    return entry.name, ", ".join(f"×{scale}" for scale in entry.scales), entry.summary


def _metric(entry: MetricInfo) -> Sequence[str]:
    return entry.name, entry.direction, entry.side, entry.unit, entry.cost, entry.summary


_COLUMNS: dict[str, tuple[Sequence[str], Any]] = {
    "losses": (("loss", "side", "share", "cost", "what it measures"), _loss),
    "models": (("model", "scales", "what it is"), _model),
    "metrics": (("metric", "direction", "side", "unit", "cost", "definition"), _metric),
}


def _detail(entry: Any) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from service.cli import recipe_tables
    from service.cli.output import plain
    from service.cli.tables import plain_table
    from service.contract.vocabulary import Recipe

    if isinstance(entry, Recipe):
        return recipe_tables.recipe(entry)
    facts = plain_table("", "value", wraps=["value"])
    facts.show_header = False
    fields = {name: value for name, value in plain(entry).items() if name != "parameters"}
    for name, value in fields.items():
        facts.add_row(Text(name, style="bold"), _said(value))
    parameters: list[Parameter] = getattr(entry, "parameters", [])
    if not parameters:
        return facts
    table = plain_table("parameter", "type", "default", "accepts", "meaning", wraps=["meaning"])
    for parameter in parameters:
        default = "required" if parameter.required else _said(parameter.default)
        row = (parameter.name, parameter.type, default, _accepted(parameter), parameter.description)
        table.add_row(*row)
    return Group(facts, "", table)


def _accepted(parameter: Parameter) -> str:
    if parameter.choices:
        return ", ".join(parameter.choices)
    low = "" if parameter.low is None else f"{parameter.low:g}"
    high = "" if parameter.high is None else f"{parameter.high:g}"
    return f"{low} – {high}" if low or high else ""


def _said(value: object) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
