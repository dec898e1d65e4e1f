"""`srtune study init|validate|submit`: from a file to a running study."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.options import DEFAULT_SERVER, Json, Server, Token, connect

if TYPE_CHECKING:
    from service.contract.errors import Problem

_SCHEMA_LINE = "# yaml-language-server: $schema="
_SCHEMA_FILE = "study.schema.json"

File = Annotated[Path, typer.Argument(metavar="FILE", help="YAML or JSON.")]
Local = Annotated[
    bool, typer.Option("--local", help="Check against this installation, without a service.")
]


def init(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file to write.")] = Path(
        "study.yaml"
    ),
    schema: Annotated[
        bool, typer.Option("--schema", help="Write the JSON schema beside it, for editors.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file.")] = False,
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """Write a commented example of a study, every field with its default."""
    from service.cli.errors import WrongUsage
    from service.cli.output import answer

    if path.is_dir():
        path = path / "study.yaml"
    beside = path.parent / _SCHEMA_FILE
    taken = [file for file in (path, beside) if file.exists() and (file == path or schema)]
    if taken and not force:
        raise WrongUsage(f"{taken[0]} is there already; give another path, or --force")
    path.parent.mkdir(parents=True, exist_ok=True)
    where = f"./{_SCHEMA_FILE}" if schema else f"{server.rstrip('/')}/api/v1/schema/study"
    path.write_text(f"{_SCHEMA_LINE}{where}\n{example()}", encoding="utf-8")
    written = [str(path)]
    if schema:
        beside.write_text(json.dumps(study_schema(), indent=2) + "\n", encoding="utf-8")
        written.append(str(beside))
    shown = f"wrote {' and '.join(written)}; next: srtune study submit {path} --watch"
    answer({"written": written}, shown, as_json=as_json)


def validate(
    file: File,
    local: Local = False,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Check a definition and list all its problems; nothing is stored."""
    from service.cli.definition_file import read
    from service.cli.output import answer
    from service.contract.errors import InvalidStudy

    definition = read(file)
    if local:
        problems = local_problems(definition)
    else:
        with connect(server, token) as client:
            problems = client.validate(definition)
    if as_json:
        answer({"valid": not problems, "problems": problems}, "", as_json=True)
    if problems:
        raise InvalidStudy(f"{file} has {len(problems)} problems", problems=problems)
    if not as_json:
        answer(None, f"{file} is a valid study", as_json=False)


def submit(
    file: File,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")] = False,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Store a study and start it."""
    from service.cli.definition_file import read
    from service.cli.output import answer, note
    from service.cli.study_watch import follow

    definition = read(file)
    with connect(server, token) as client:
        view = client.submit(definition)
    submitted = f"submitted {view.name} as {view.id}; srtune study watch {view.id}"
    if watch:
        note(submitted)
        follow(view.id, server=server, token=token, as_json=as_json)
    else:
        answer(view, submitted, as_json=as_json)


def example() -> str:
    """The commented example, without the line that names its schema."""
    return files("service.cli").joinpath("example.yaml").read_text(encoding="utf-8")


def study_schema() -> dict[str, Any]:
    """The JSON schema of a definition, as editors read it."""
    from service.contract.study import StudyDefinition

    schema = StudyDefinition.model_json_schema()
    # Where editors and people put it; the service ignores nothing else.
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def local_problems(definition: dict[str, Any]) -> list[Problem]:
    """The problems the service would list, found with the packages installed here."""
    from service.contract.checking import check
    from service.contract.errors import InvalidStudy
    from service.tuner import check_space
    from workers.vocabulary import vocabulary

    words = vocabulary()
    try:
        return list(check_space(check(definition, words), words))
    except InvalidStudy as error:
        return error.problems
