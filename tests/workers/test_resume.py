"""An interrupted training goes on as if nothing had happened, to the last bit."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from service.contract.study import StudyDefinition
from service.contract.trial import TrialKind
from tests.workers import tiny_training as tiny
from workers.checkpoint import load


def leaves(content: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from leaves(value, f"{path}/{key}")
    elif isinstance(content, list | tuple):
        for index, value in enumerate(content):
            yield from leaves(value, f"{path}/{index}")
    else:
        yield path, content


def differences(one: Path, other: Path) -> list[str]:
    first, second = dict(leaves(load(one))), dict(leaves(load(other)))
    assert first.keys() == second.keys()
    return [
        path
        for path, value in first.items()
        if not (
            torch.equal(value, second[path])
            if isinstance(value, torch.Tensor)
            else value == second[path]
        )
    ]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def definition(photos: Path) -> StudyDefinition:
    return tiny.define(photos)


#: Terms that together need everything a trainer keeps beside the generator.
GAMES = [
    {"loss": "l1"},
    {"loss": "adversarial", "name": "patches", "parameters": {"r1": 1.0, "channels": 4}},
    {"loss": "adversarial", "name": "per_class", "parameters": {"classes": 2, "channels": 4}},
    {
        "loss": "adversarial",
        "name": "mixed",
        "parameters": {"kind": "wgan", "gradient_penalty": 10.0, "channels": 4},
    },
    {"loss": "cycle", "parameters": {"channels": 4}},
    {"loss": "lr_consistency"},
    {"loss": "ldl"},
]


@pytest.fixture(scope="module")
def games(photos: Path) -> StudyDefinition:
    return tiny.define(photos, losses=GAMES, data={"classes": tiny.classes(photos)})


def test_trial_with_several_networks_beside_it_resumes_bit_for_bit_as_does_its_start(
    games: StudyDefinition, tmp_path: Path
) -> None:
    bench = tiny.new_bench(tmp_path)
    keys = [term.key for term in games.losses]
    beginning = tiny.job(games, TrialKind.START)
    trial = tiny.job(games, start=tiny.make_start(games, bench), weights=dict.fromkeys(keys, 0.1))
    for name, work, until in (("start", beginning, 6), ("trial", trial, 3)):
        whole, part, resumed = (tmp_path / f"{name}-{x}.pt" for x in ("whole", "part", "resumed"))
        tiny.train_to(tmp_path, work, whole)
        tiny.train_to(tmp_path, work, part, until=until)
        tiny.train_to(tmp_path, tiny.resumed(work, tiny.shelve(bench, part), until), resumed)
        assert load(whole)["companions"].keys() == {"patches", "per_class", "mixed", "cycle"}
        assert differences(part, whole)
        assert differences(whole, resumed) == []


def test_trial_resumed_in_another_process_equals_the_uninterrupted_one_bit_for_bit(
    definition: StudyDefinition, tmp_path: Path
) -> None:
    bench = tiny.new_bench(tmp_path)
    work = tiny.job(definition, start=tiny.make_start(definition, bench))
    tiny.train_to(tmp_path, work, tmp_path / "whole.pt")
    tiny.train_to(tmp_path, work, tmp_path / "half.pt", until=4)
    again = tiny.resumed(work, tiny.shelve(bench, tmp_path / "half.pt"), 4)

    process = multiprocessing.get_context("spawn").Process(
        target=tiny.train_to, args=(tmp_path, again, tmp_path / "resumed.pt")
    )
    process.start()
    process.join(60)

    assert process.exitcode == 0
    assert differences(tmp_path / "half.pt", tmp_path / "whole.pt")  # the comparison can fail
    assert differences(tmp_path / "whole.pt", tmp_path / "resumed.pt") == []


@pytest.mark.parametrize("interrupted_at", [2, 5, 7])
def test_start_resumed_in_either_phase_equals_the_uninterrupted_one(
    definition: StudyDefinition, tmp_path: Path, interrupted_at: int
) -> None:
    work = tiny.job(definition, TrialKind.START)
    tiny.train_to(tmp_path, work, tmp_path / "whole.pt")
    tiny.train_to(tmp_path, work, tmp_path / "part.pt", until=interrupted_at)
    blob = tiny.shelve(tiny.new_bench(tmp_path), tmp_path / "part.pt")
    tiny.train_to(tmp_path, tiny.resumed(work, blob, interrupted_at), tmp_path / "resumed.pt")
    assert differences(tmp_path / "whole.pt", tmp_path / "resumed.pt") == []


def test_equal_runs_are_equal_and_other_seeds_are_not(
    definition: StudyDefinition, tmp_path: Path
) -> None:
    work = tiny.job(definition, start=tiny.make_start(definition, tiny.new_bench(tmp_path)))
    tiny.train_to(tmp_path, work, tmp_path / "one.pt")
    tiny.train_to(tmp_path, work, tmp_path / "two.pt")
    tiny.train_to(tmp_path, work.model_copy(update={"seed": 9}), tmp_path / "three.pt")
    assert differences(tmp_path / "one.pt", tmp_path / "two.pt") == []
    assert differences(tmp_path / "one.pt", tmp_path / "three.pt")
