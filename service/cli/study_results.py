"""`srtune study show|trials|front|best`: what came out."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.options import DEFAULT_SERVER, Json, Server, StudyRef, Token, connect


def show(
    study: StudyRef, server: Server = DEFAULT_SERVER, token: Token = None, as_json: Json = False
) -> None:
    """Show one study: state, progress, definition, what the linter said of its losses."""
    from rich.console import Group

    from service.cli import lint_tables, tables
    from service.cli.output import answer

    with connect(server, token) as client:
        found = client.study(study)
    lint = found.calibration.lint if found.calibration else None
    shown = Group(tables.study(found), *(["", lint_tables.report(lint)] if lint else []))
    answer(found, shown, as_json=as_json)


def trials(
    study: StudyRef,
    state: Annotated[
        str | None, typer.Option("--state", help="Only trials in this state, such as complete.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """List a study's trials with scores and weights."""
    from service.cli import tables
    from service.cli.errors import WrongUsage
    from service.cli.output import answer
    from service.contract.trial import TrialState

    known = [member.value for member in TrialState]
    if state is not None and state not in known:
        raise WrongUsage(f"--state {state!r} is none of {', '.join(known)}")
    with connect(server, token) as client:
        view = client.study(study)
        found = client.trials(view.id, state=state)
    answer(found, tables.trials(found, view.definition.objectives), as_json=as_json)


def front(
    study: StudyRef, server: Server = DEFAULT_SERVER, token: Token = None, as_json: Json = False
) -> None:
    """Show the trials that no other beats in every objective."""
    from service.cli import tables
    from service.cli.output import answer

    with connect(server, token) as client:
        found = client.front(study)
    answer(found, tables.front(found), as_json=as_json)


def best(
    study: StudyRef,
    prefer: Annotated[
        str | None, typer.Option("--prefer", help="The best in this metric instead of the knee.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Show the chosen weights beside the recipes', and whether they are better."""
    from service.cli import tables
    from service.cli.output import answer

    with connect(server, token) as client:
        view = client.study(study)
        found = client.best(view.id, prefer=prefer)
    shown = tables.best(found, objectives=view.definition.objectives)
    answer(found, shown, as_json=as_json)
