"""The options that many commands share, written once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from service.client import Client

#: Seconds a person waits for a service that does not answer.
PATIENCE = 3.0
DEFAULT_SERVER = "http://127.0.0.1:8470"

Server = Annotated[
    str, typer.Option("--server", envvar="SRTUNE_SERVER", help="Address of the service.")
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="SRTUNE_TOKEN",
        help="Bearer token; a service that only this machine can reach needs none.",
        show_envvar=True,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Answer in JSON on stdout, and nothing else there.")
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="SRTUNE_DATA",
        help="The one folder everything is kept in.  [default: srtune-data]",
        file_okay=False,
    ),
]
StudyRef = Annotated[str, typer.Argument(metavar="STUDY", help="Id, or name (the newest counts).")]


def connect(server: str, token: str | None, *, patience: float | None = None) -> Client:
    """A client for a person who waits: gives up after `patience` seconds, default `PATIENCE`."""
    from service.cli.errors import WrongUsage
    from service.client import Client

    if not server.startswith(("http://", "https://")):
        raise WrongUsage(
            f"--server {server!r} is no address; write it as http://host:port, such as {DEFAULT_SERVER}"
        )
    return Client(server, token=token, patience=PATIENCE if patience is None else patience)
