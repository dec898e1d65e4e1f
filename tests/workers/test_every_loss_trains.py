"""Every registered loss trains in a study, and an interrupted trial with it goes on bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import losses
from service.contract.study import StudyDefinition
from tests.workers import tiny_training as tiny
from tests.workers.test_resume import differences
from workers.course import open_course

#: Settings without which a loss cannot train on crops of 32 pixels.
SMALL: dict[str, dict[str, Any]] = {
    "landmark_prior": {"faces": "whole"},
    "ms_ssim": {"scales": 2},
}
#: Settings that need more of the trainer than the defaults.
FURTHER: list[tuple[str, dict[str, Any]]] = [
    ("adversarial", {"r1": 10.0}),
    ("adversarial", {"gradient_penalty": 10.0, "kind": "wgan"}),
    ("adversarial", {"classes": 2}),
    ("adversarial", {"discriminator": "features", "backbone": "vgg19", "layer": "relu2_2"}),
    ("adversarial", {"discriminator": "unet", "kind": "relativistic", "channels": 8}),
    ("adversarial", {"discriminator": "image", "norm": "batch", "channels": 8}),
    ("lpips", {"heads": "lpips_vgg16"}),
    ("dists", {"heads": "dists_vgg16"}),
]
CASES = [(name, SMALL.get(name, {})) for name in losses.SPECS] + FURTHER


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_photos(tmp_path_factory.mktemp("photos"))


def study_of(photos: Path, loss: str, parameters: dict[str, Any]) -> StudyDefinition:
    """L1 and one more loss, each for three steps, on photos of two classes."""
    return tiny.define(
        photos,
        data={"classes": tiny.classes(photos)},
        losses=[{"loss": "l1"}, {"loss": loss, "name": "tried", "parameters": parameters}],
        training={
            "steps": 3,
            "rungs": [],
            "log_every": 2,
            "warmup": {"steps": 2, "discriminator_steps": 1, "calibration_batches": 1},
        },
    )


@pytest.mark.parametrize(("loss", "parameters"), CASES, ids=lambda x: str(x))
def test_loss_trains_beside_l1_and_resumes_bit_for_bit(
    loss: str, parameters: dict[str, Any], photos: Path, tmp_path: Path
) -> None:
    definition = study_of(photos, loss, parameters)
    bench = tiny.new_bench(tmp_path)
    start = tiny.make_start(definition, bench)
    work = tiny.job(definition, start=start, weights={"l1": 1.0, "tried": 0.1})
    curves: dict[int, Mapping[str, float]] = {}
    course = open_course(work, bench, log=lambda values, step: curves.update({step: values}))
    tiny.run(course)
    assert curves[3]["grad/tried"] > 0
    assert 0 < curves[3]["share/tried"] < 1

    course.state.seconds = 0.0  # the only thing two equal trainings may differ in
    course.state.save(tmp_path / "whole.pt")
    tiny.train_to(tmp_path, work, tmp_path / "part.pt", until=2)
    again = tiny.resumed(work, tiny.shelve(bench, tmp_path / "part.pt"), 2)
    tiny.train_to(tmp_path, again, tmp_path / "resumed.pt")
    assert differences(tmp_path / "part.pt", tmp_path / "whole.pt")
    assert differences(tmp_path / "whole.pt", tmp_path / "resumed.pt") == []
