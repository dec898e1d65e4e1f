"""What must hold on a CUDA device; `pytest -m gpu` on a machine that has one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from service.contract.trial import TrialKind
from tests.workers import tiny_training as tiny
from workers.bench import Bench
from workers.course import open_course

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def on_gpu(folder: Path) -> Bench:
    return Bench(tiny.nothing_to_fetch, torch.device("cuda"), folder, pretrained=tiny.Narrow())


def test_a_start_and_a_trial_come_close_to_those_of_the_cpu(tmp_path: Path) -> None:
    definition = tiny.define(tiny.write_photos(tmp_path / "photos"))
    ends = {}
    for name, bench in (
        ("cpu", tiny.new_bench(tmp_path / "cpu")),
        ("cuda", on_gpu(tmp_path / "cuda")),
    ):
        start = tiny.make_start(definition, bench)
        course = open_course(tiny.job(definition, start=start), bench, log=tiny.silent)
        tiny.run(course)
        ends[name] = {key: value.cpu() for key, value in course.state.scored.state_dict().items()}
    for key, value in ends["cpu"].items():
        # Adam's first steps enlarge rounding: each of 13 moves a weight by at most about lr.
        torch.testing.assert_close(ends["cuda"][key], value, rtol=0, atol=5e-3)


def test_a_trial_resumed_on_the_gpu_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    definition = tiny.define(tiny.write_photos(tmp_path / "photos"))
    bench = on_gpu(tmp_path / "cuda")
    work = tiny.job(definition, start=tiny.make_start(definition, bench))
    course = open_course(work, bench, log=tiny.silent)
    tiny.run(course, until=4)
    course.state.save(tmp_path / "half.pt")
    again = tiny.resumed(work, tiny.shelve(bench, tmp_path / "half.pt"), 4)
    course = open_course(again, bench, log=tiny.silent)
    assert course.state.step == 4
    tiny.run(course)
    assert course.state.step == definition.training.steps


def test_calibration_on_the_gpu_agrees_with_the_cpu_s(tmp_path: Path) -> None:
    definition = tiny.define(tiny.write_photos(tmp_path / "photos"))
    norms = {}
    for name, bench in (
        ("cpu", tiny.new_bench(tmp_path / "cpu")),
        ("cuda", on_gpu(tmp_path / "cuda")),
    ):
        course = open_course(tiny.job(definition, TrialKind.START), bench, log=tiny.silent)
        tiny.run(course)
        assert course.calibrate is not None
        norms[name] = course.calibrate().norms
    assert norms["cuda"] == pytest.approx(norms["cpu"], rel=0.05)
