"""`srtune weights`: what there is, what is here, and where."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from service.cli import main as cli
from workers.weights import CATALOGUE
from workers.weights.catalogue import UrlFile


class Ran(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


Srtune = Callable[..., Ran]


@pytest.fixture
def srtune(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Srtune:
    """Run a command in this process, as the entry point does."""
    monkeypatch.setenv("SRTUNE_DEBUG", "")

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["srtune", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and a resnet18 that can be fetched without a network."""
    monkeypatch.setenv("SRTUNE_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "resnet18.pth"
    torch.save({"conv1.weight": torch.ones(2, 3, 7, 7), "fc.weight": torch.ones(2, 2)}, file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    entry = replace(CATALOGUE["resnet18"], source=UrlFile(file.as_uri(), sha256))
    monkeypatch.setitem(CATALOGUE, "resnet18", entry)
    return file


def test_list_tells_of_every_entry_and_which_are_here(srtune: Srtune) -> None:
    before = json.loads(srtune("weights", "list", "--json").out)
    srtune("weights", "fetch", "resnet18")
    after = {entry["name"]: entry for entry in json.loads(srtune("weights", "list", "--json").out)}
    assert [entry["name"] for entry in before] == list(CATALOGUE)
    assert all(entry["path"] is None for entry in before)
    assert all(entry["licence"] and entry["lineage"] and entry["source"] for entry in before)
    assert [name for name, entry in after.items() if entry["path"]] == ["resnet18"]


def test_the_table_names_licence_size_and_source(srtune: Srtune) -> None:
    shown = " ".join(srtune("weights", "list").out.split())
    assert "face_landmark_68 – 12.7 face-api's 68-landmark network" in shown
    assert "MIT; from the npm package @vladmandic/face-api@1.7.15" in shown
    assert "kept in" in shown


def test_path_prints_the_file_alone_and_fetches_it_first(srtune: Srtune) -> None:
    ran = srtune("weights", "path", "resnet18")
    assert ran.err.startswith("fetching resnet18, from file:")
    assert ran.out.count("\n") == 1
    assert list(load_file(ran.out.strip())) == ["conv1.weight"]
    again = srtune("weights", "path", "resnet18")
    assert (again.out, again.err) == (ran.out, "")


def test_fetch_answers_with_the_files(srtune: Srtune) -> None:
    files = json.loads(srtune("weights", "fetch", "resnet18", "resnet18", "--json").out)
    assert list(files) == ["resnet18"]
    assert Path(files["resnet18"]).is_file()


@pytest.mark.parametrize("command", ["fetch", "path"])
def test_a_wrong_name_is_answered_with_the_nearest(srtune: Srtune, command: str) -> None:
    ran = srtune("weights", command, "resnet_18")
    assert ran.code == 2
    assert ran.err == "there are no weights 'resnet_18'; did you mean resnet18?\n"


def test_one_wrong_name_among_several_fetches_nothing(srtune: Srtune, tmp_path: Path) -> None:
    assert srtune("weights", "fetch", "resnet18", "vgg61").code == 2
    assert not (tmp_path / "cache").exists()


def test_weights_out_of_reach_are_one_sentence_with_a_remedy(
    srtune: Srtune, published: Path
) -> None:
    published.unlink()
    ran = srtune("weights", "fetch", "resnet18")
    assert ran.code == 1
    assert "put resnet18.pth into" in ran.err.splitlines()[-1]
