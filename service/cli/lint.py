"""`srtune lint`: what is wrong with a study's losses, before any trial pays for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.options import Json

File = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="YAML or JSON.")]


def lint(
    file: File,
    steps: Annotated[
        int, typer.Option("--steps", min=0, help="Steps of warm-up before it is looked at.")
    ] = 100,
    device: Annotated[
        str, typer.Option("--device", help="Where to compute, such as cuda:0.")
    ] = "cpu",
    as_json: Json = False,
) -> None:
    """Try a study's losses on its own model and photos, and explain what is wrong with them.

    Runs here, without a service. The same is done by itself before the first trial of every study.
    Exits with 1 if there are errors.
    """
    from service.cli.definition_file import read
    from service.cli.lint_tables import report
    from service.cli.output import answer, note
    from service.contract.checking import check
    from workers.rehearsal import lint_study
    from workers.vocabulary import vocabulary

    definition = check(read(file), vocabulary())
    note(f"warming up {definition.model.name} for {steps} steps …")
    found = lint_study(definition, steps=steps, device=device)
    answer(found, report(found), as_json=as_json)
    if found.errors:
        raise typer.Exit(1)
