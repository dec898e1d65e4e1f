"""`srtune study ...`: a study's life."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli import study_files, study_results, study_watch
from service.cli.options import DEFAULT_SERVER, Json, Server, StudyRef, Token, connect

if TYPE_CHECKING:
    from service.contract.trial import StudyView

app = typer.Typer(help="Write, submit, follow and end studies.", no_args_is_help=True)
app.command("init")(study_files.init)
app.command("validate")(study_files.validate)
app.command("submit")(study_files.submit)
app.command("watch")(study_watch.watch)
app.command("show")(study_results.show)
app.command("trials")(study_results.trials)
app.command("front")(study_results.front)
app.command("best")(study_results.best)


@app.command("list")
def list_(
    state: Annotated[
        str | None, typer.Option("--state", help="Only studies in this state, such as active.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """List studies, newest first."""
    from service.cli import tables
    from service.cli.output import answer

    _known_state(state)
    with connect(server, token) as client:
        found = client.studies(state=state)
    answer(found, tables.studies(found), as_json=as_json)


@app.command("pause")
def pause(
    study: StudyRef, server: Server = DEFAULT_SERVER, token: Token = None, as_json: Json = False
) -> None:
    """Lease no new trials; running ones go on."""
    with connect(server, token) as client:
        _tell(client.pause(study), as_json=as_json)


@app.command("resume")
def resume(
    study: StudyRef, server: Server = DEFAULT_SERVER, token: Token = None, as_json: Json = False
) -> None:
    """Go on with a paused study."""
    with connect(server, token) as client:
        _tell(client.resume(study), as_json=as_json)


@app.command("stop")
def stop(
    study: StudyRef, server: Server = DEFAULT_SERVER, token: Token = None, as_json: Json = False
) -> None:
    """End a study for good; results so far stay."""
    with connect(server, token) as client:
        _tell(client.stop(study), as_json=as_json)


@app.command("delete")
def delete(
    study: StudyRef,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Delete a study and its trials; its MLflow pages stay."""
    from service.cli.errors import WrongUsage
    from service.cli.output import answer

    with connect(server, token) as client:
        found = client.study(study)
        trials = sum(found.progress.states.values())
        if not yes:
            if not sys.stdin.isatty():
                raise WrongUsage(f"deleting {found.name} cannot be undone; add --yes to mean it")
            question = f"Delete study {found.name} ({found.id}) with {trials} trials?"
            typer.confirm(question, abort=True, err=True)
        client.delete(found.id)
    answer(
        {"deleted": found.id, "trials": trials},
        f"deleted {found.name} ({found.id}) with {trials} trials",
        as_json=as_json,
    )


def _tell(view: StudyView, *, as_json: bool) -> None:
    from service.cli.output import answer

    reason = f": {view.reason}" if view.reason else ""
    answer(view, f"{view.name} ({view.id}) is {view.state.value}{reason}", as_json=as_json)


def _known_state(state: str | None) -> None:
    from service.cli.errors import WrongUsage
    from service.contract.trial import StudyState

    known = [member.value for member in StudyState]
    if state is not None and state not in known:
        raise WrongUsage(f"--state {state!r} is none of {', '.join(known)}")
