"""`srtune study watch`: follow a study to its end."""

from __future__ import annotations

from service.cli.options import DEFAULT_SERVER, Json, Server, StudyRef, Token, connect


def watch(
    study: StudyRef,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Follow a study until it has ended: running trials, workers, the front so far.

    Exits with 0 when it finished or was stopped, with 1 when it failed. --json: its end, as JSON.
    """
    follow(study, server=server, token=token, as_json=as_json)


def follow(study: str, *, server: str, token: str | None, as_json: bool) -> None:
    """Watch a study to its end; with JSON, progress goes to stderr and the end to stdout."""
    from service.cli import tables
    from service.cli.output import answer, console
    from service.cli.watch import watch as watch_study

    with connect(server, token, patience=0) as client:
        ended = watch_study(client, study, console(stderr=as_json))
    answer(ended, tables.study(ended), as_json=as_json)
