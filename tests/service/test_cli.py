"""The command line: light, one sentence per error, JSON when asked."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from service.cli import main as cli
from service.cli.definition_file import parse, read
from service.cli.listening import free_port, listen, only_one
from service.cli.study_docs import page
from service.cli.study_files import example, study_schema
from service.contract.study import StudyDefinition

ROOT = Path(cli.__file__).parents[2]


class Ran(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


Srtune = Callable[..., Ran]


@pytest.fixture
def srtune(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Srtune:
    """Run a command in this process, as the entry point does."""
    monkeypatch.setenv("SRTUNE_DEBUG", "")  # put back after a test that sets it
    # A command that logs would leave a handler behind that writes to this test's closed stderr.
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers)
    monkeypatch.setattr(logging.root, "level", logging.root.level)

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["srtune", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def nowhere() -> str:
    """An address where nothing listens."""
    return f"http://127.0.0.1:{free_port()}"


def test_help_imports_nothing_heavy_and_answers_at_once() -> None:
    heavy = {"torch", "fastapi", "optuna", "mlflow", "sqlalchemy", "numpy", "httpx2", "pydantic"}
    code = (
        "import sys; from service.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        f"sys.stderr.write(' '.join(sorted({heavy!r} & set(sys.modules))))"
    )
    started = time.monotonic()
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "Tunes the loss weights" in ran.stdout
    assert ran.stderr == ""
    assert time.monotonic() - started < 3  # 0.3 s alone; test machines are busy


@pytest.mark.parametrize(
    "command",
    [
        ("study", "list"),
        ("study", "show", "x"),
        ("study", "watch", "x"),
        ("study", "best", "x", "--json"),
        ("workers",),
        ("losses",),
    ],
    ids=" ".join,
)
def test_a_server_that_is_not_there_is_one_sentence(
    srtune: Srtune, nowhere: str, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.cli.options.PATIENCE", 0.0)
    ran = srtune(*command, "--server", nowhere)
    assert ran.code == 1
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert nowhere in ran.err
    assert "srtune up" in ran.err


def test_an_address_without_scheme_is_wrong_usage(srtune: Srtune) -> None:
    ran = srtune("study", "list", "--server", "localhost:8470")
    assert ran.code == 2
    assert "http://host:port" in ran.err


def test_debug_shows_the_traceback(srtune: Srtune, tmp_path: Path) -> None:
    from service.cli.errors import WrongUsage

    existing = tmp_path / "study.yaml"
    existing.write_text("")
    assert srtune("study", "init", str(existing)).err.count("\n") == 1
    with pytest.raises(WrongUsage):
        srtune("--debug", "study", "init", str(existing))


# -- definitions ------------------------------------------------------------------------------


def test_init_writes_a_study_that_is_valid(srtune: Srtune, tmp_path: Path) -> None:
    path = tmp_path / "mine" / "study.yaml"
    ran = srtune("study", "init", str(path), "--schema", "--json")
    assert json.loads(ran.out)["written"] == [str(path), str(path.parent / "study.schema.json")]
    assert path.read_text().splitlines()[0] == (
        "# yaml-language-server: $schema=./study.schema.json"
    )
    assert json.loads((path.parent / "study.schema.json").read_text()) == study_schema()
    valid = srtune("study", "validate", str(path), "--local", "--json")
    assert json.loads(valid.out) == {"valid": True, "problems": []}
    assert valid.code == 0


def test_init_does_not_write_over_a_file(srtune: Srtune, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("mine")
    ran = srtune("study", "init", str(path))
    assert (ran.code, path.read_text()) == (2, "mine")
    assert "--force" in ran.err


def test_example_shows_every_field_with_its_default() -> None:
    given = json.loads(json.dumps(parse(example(), name="example")))
    for name, info in StudyDefinition.model_fields.items():
        if name in ("name", "description", "data", "model", "losses", "search"):
            continue  # the author's own, or (search.recipes) richer than the default
        default = info.get_default(call_default_factory=True)
        expected = default.model_dump(mode="json") if hasattr(default, "model_dump") else default
        if name == "budget":
            expected = {"trials": 40}  # the others have no value and are commented out
        assert given[name] == expected, name
    for part in (study_schema(), *study_schema()["$defs"].values()):
        for field in part["properties"].keys() - {"$schema"}:  # in YAML that is a comment
            assert f"{field}:" in example(), field


def test_study_page_is_up_to_date() -> None:
    written = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    assert written == page(), "run `python -m service.cli.study_docs docs/study.md`"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("2E+4", 20000.0),
        ("-1e-3", -0.001),
        ("1.5e-3", 0.0015),
        (".5", 0.5),
        ("3.", 3.0),
        ("010", 10),
        ("0x10", 16),
        ("-7", -7),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("1e", "1e"),
        ("e3", "e3"),
        ("1_000", "1_000"),
    ],
)
def test_numbers_are_those_of_yaml_1_2(text: str, value: object) -> None:
    read_back = parse(f"x: {text}", name="x")["x"]
    assert read_back == value
    assert type(read_back) is type(value)


def test_plain_pyyaml_reads_1e_3_as_a_text() -> None:
    """The reason for a loader of our own; if this fails, it can go."""
    assert yaml.safe_load("x: 1e-3") == {"x": "1e-3"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\n  data: [", "line 2"),
        ("name: a\nname: b", "`name` is there twice"),
        ("budget: {trials: 1, trials: 2}", "`trials` is there twice"),
        ("x: .nan", "JSON"),
        ("x: &a [*a]", "recursive"),
        ("x: !!python/object/apply:os.system [ls]", "line 1"),
        ("- a list", "no mapping"),
        ("", "no mapping"),
    ],
)
def test_what_is_no_definition_is_one_sentence(
    srtune: Srtune, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    ran = srtune("study", "validate", str(path), "--local")
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n")
    assert read(path) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}


def test_a_missing_file_is_named(srtune: Srtune, tmp_path: Path) -> None:
    ran = srtune("study", "submit", str(tmp_path / "no.yaml"))
    assert ran.code == 2
    assert ran.err == f"{tmp_path / 'no.yaml'}: no such file or directory\n"


def test_invalid_definition_lists_all_problems(srtune: Srtune, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        example()
        .replace("loss: content", "loss: contnet")
        .replace("scale: 2 ", "scale: 5 ")
        .replace("steps: 5000", "stepz: 5000")
    )
    ran = srtune("study", "validate", str(path), "--local")
    assert ran.code == 2
    assert "losses[1].loss: there is no loss `contnet`; did you mean `content`?" in ran.err
    assert "data.scale: " in ran.err
    assert "training.stepz: unknown field `stepz`; did you mean `steps`?" in ran.err
    as_json = srtune("study", "validate", str(path), "--local", "--json")
    assert as_json.code == 2
    assert {p["path"] for p in json.loads(as_json.out)["problems"]} == {
        "losses[1].loss",
        "data.scale",
        "training.stepz",
    }


# -- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["losses", "models", "metrics", "recipes"])
def test_words_are_listed_for_people_and_programs(srtune: Srtune, kind: str) -> None:
    words = json.loads(srtune(kind, "--local", "--json").out)
    assert words
    shown = srtune(kind, "--local").out
    for word in words:
        assert word["name"] in shown
        assert json.loads(srtune(kind, word["name"], "--local", "--json").out) == word


def test_a_misspelt_word_gets_the_nearest(srtune: Srtune) -> None:
    ran = srtune("losses", "charbonier", "--local")
    assert ran.code == 2
    assert "did you mean charbonnier?" in ran.err


# -- ports, folders, tokens -------------------------------------------------------------------


def test_a_taken_port_is_one_sentence(srtune: Srtune, tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        ran = srtune("up", "--port", port, "--data", str(tmp_path), "--workers", "0")
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == (
        f"port {port} on 127.0.0.1 is taken by another process; stop it or give another --port"
    )


def test_a_folder_in_use_is_one_sentence(srtune: Srtune, tmp_path: Path) -> None:
    with only_one(tmp_path):
        ran = srtune("serve", "--port", "0", "--data", str(tmp_path))
    assert ran.code == 1
    assert "is in use by the service with process id" in ran.err


def test_a_bad_setting_names_its_variable(
    srtune: Srtune, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SRTUNE_LEASE_SECONDS", "soon")
    ran = srtune("serve", "--data", str(tmp_path))
    assert ran.code == 2
    assert "SRTUNE_LEASE_SECONDS is 'soon'" in ran.err


def test_a_token_is_shown_once_and_can_be_revoked(srtune: Srtune, tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    made = srtune("token", "create", "--scope", "read", "--name", "ann", "--json", *data)
    assert json.loads(made.out)["token"].startswith("srt_")
    assert json.loads(srtune("token", "revoke", "ann", "--json", *data).out) == {"revoked": 1}
    again = srtune("token", "revoke", "ann", *data)
    assert (again.code, again.err) == (2, "there is no valid token with the id or name 'ann'\n")


def test_an_unknown_scope_lists_the_known_ones(srtune: Srtune, tmp_path: Path) -> None:
    ran = srtune("token", "create", "--scope", "reed", "--data", str(tmp_path))
    assert ran.code == 2
    assert "read, submit, worker, admin" in ran.err


def test_a_label_without_value_is_wrong_usage(srtune: Srtune) -> None:
    assert srtune("worker", "--label", "gpu").err == "--label 'gpu' is not key=value\n"
