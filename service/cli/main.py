"""`srtune`: the commands, and the one place where an error becomes a sentence and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from service.cli import (
    audit,
    demo,
    lint,
    owner,
    score,
    serve,
    study,
    token,
    up,
    weights,
    words,
    worker,
)

app = typer.Typer(
    name="srtune",
    help="Tunes the loss weights of super-resolution models, and keeps the lab book.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo", rich_help_panel="Start here")(demo.demo)
app.command("up", rich_help_panel="Start here")(up.up)
app.command("serve", rich_help_panel="Processes")(serve.serve)
app.command("worker", rich_help_panel="Processes")(worker.worker)
app.add_typer(study.app, name="study", rich_help_panel="Studies")
app.command("score", rich_help_panel="Start here")(score.score)
app.command("lint", rich_help_panel="Studies")(lint.lint)
app.command("losses", rich_help_panel="Studies")(words.losses)
app.command("models", rich_help_panel="Studies")(words.models)
app.command("metrics", rich_help_panel="Studies")(words.metrics)
app.command("recipes", rich_help_panel="Studies")(words.recipes)
app.command("workers", rich_help_panel="Studies")(words.workers)
app.add_typer(token.app, name="token", rich_help_panel="Access")
app.add_typer(owner.app, name="owner", rich_help_panel="Access")
app.command("audit", rich_help_panel="Access")(audit.audit)
app.add_typer(weights.app, name="weights", rich_help_panel="Processes")

#: Set by `--debug`; read again in `main` after the command has failed.
_DEBUG = "SRTUNE_DEBUG"


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("srtune"))
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if debug:
        os.environ[_DEBUG] = "1"


def main() -> None:
    """Run one command; errors that are expected are one clear sentence on stderr."""
    try:
        app()
    except SystemExit:
        raise
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `srtune study list | head`: nobody reads on, which is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except _expected() as error:  # evaluated only when something was raised: keeps --help light
        from service.cli.errors import exit_code, sentences

        if os.environ.get(_DEBUG):
            raise
        sys.stderr.write("\n".join(sentences(error)) + "\n")
        sys.exit(exit_code(error))


def _expected() -> tuple[type[Exception], ...]:
    from service.contract.errors import SrtuneError

    return (SrtuneError, OSError, ModuleNotFoundError)


if __name__ == "__main__":
    main()
