"""The linter finds what is wrong with a study's losses before a trial pays for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import losses
from benchmarks.planted_bugs import planted_bugs
from service.contract.lint import LintReport, Severity
from service.contract.trial import TrialKind
from tests.workers import tiny_training as tiny
from workers.course import open_course
from workers.lint import LintFailed
from workers.rehearsal import lint_study


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return tiny.write_photos(tmp_path / "photos")


@pytest.fixture
def planted() -> Iterator[None]:
    """Losses with the bugs that shipped trainers had, registered for one test."""
    with planted_bugs():
        yield


def lint(photos: Path, *terms: dict[str, Any], **changes: Any) -> LintReport:
    definition = tiny.define(photos, losses=[{"loss": "l1"}, *terms], **changes)
    return lint_study(definition, steps=3, pretrained=tiny.Narrow())


def found(report: LintReport, term: str) -> dict[str, Severity]:
    return {f.rule: f.severity for f in report.findings if f.term == term}


def test_a_sound_study_has_no_errors_and_a_row_for_every_term(photos: Path) -> None:
    report = lint_study(tiny.define(photos), steps=3, pretrained=tiny.Narrow())
    assert report.errors == []
    assert [row.term for row in report.rows] == ["l1", "content", "adversarial", "edge"]
    assert sum(row.share for row in report.rows) == pytest.approx(1)
    for row in report.rows:
        assert row.share == pytest.approx(0.25)  # searched terms are shown pulling alike
        assert row.value
        assert row.parameter_gradient


def test_every_loss_can_be_examined_and_none_of_ours_is_an_error(photos: Path) -> None:
    # The face prior needs faces, MS-SSIM more than 32 px, at its usual five scales.
    special: dict[str, dict[str, Any]] = {
        "landmark_prior": {"faces": "whole"},
        "ms_ssim": {"scales": 1},
    }
    terms = [
        {"loss": name, "parameters": special.get(name, {}), "share": [0.0, 0.9]}
        for name in losses.SPECS
    ]
    report = lint_study(tiny.define(photos, losses=terms[:16]), steps=1, pretrained=tiny.Narrow())
    others = [{"loss": "l1"}, *terms[16:]]
    more = lint_study(tiny.define(photos, losses=others), steps=1, pretrained=tiny.Narrow())
    assert {row.term for row in report.rows} | {row.term for row in more.rows} == set(losses.SPECS)
    assert report.errors + more.errors == []


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize(
    ("bug", "rule", "severity"),
    [
        ("cutoff", "zero-gradient", Severity.ERROR),
        ("deadzone", "dead-zone", Severity.ERROR),
        ("summed", "patch-size", Severity.WARNING),
        ("rootless", "not-finite", Severity.ERROR),
        ("coupled", "batch", Severity.NOTE),
    ],
)
def test_a_planted_bug_is_found_and_l1_beside_it_is_not_blamed(
    photos: Path, bug: str, rule: str, severity: Severity
) -> None:
    report = lint(photos, {"loss": bug})
    assert found(report, bug).get(rule) is severity
    assert found(report, "l1") == {}


@pytest.mark.parametrize(
    ("parameters", "rule"),
    [
        ({"loss": "l1", "name": "sum", "parameters": {"reduction": "sum"}}, "patch-size"),
        ({"loss": "fft", "name": "sum", "parameters": {"norm": "backward"}}, "patch-size"),
        (
            {
                "loss": "content",
                "name": "sum",
                "parameters": {
                    "backbone": "vgg19",
                    "layers": ["relu2_2"],
                    "criterion": "frobenius",
                },
            },
            "batch",
        ),
    ],
)
def test_a_peers_convention_that_ties_the_weight_to_patch_or_batch_is_told(
    photos: Path, parameters: dict[str, Any], rule: str
) -> None:
    assert rule in found(lint(photos, parameters), "sum")


def test_a_weight_that_drowns_its_term_is_told_with_one_that_would_not(photos: Path) -> None:
    report = lint(photos, {"loss": "edge", "weight": 1e-7})
    assert found(report, "edge") == {"imbalance": Severity.WARNING}
    (finding,) = [f for f in report.findings if f.term == "edge"]
    row = {row.term: row for row in report.rows}
    equal = row["l1"].weight * row["l1"].parameter_gradient / row["edge"].parameter_gradient  # type: ignore[operator]  # both are numbers here
    assert f"weight {equal:.3g} would make them equal" in finding.message


def test_a_weight_of_zero_is_said_to_cost_nothing_and_gets_no_row(photos: Path) -> None:
    report = lint(photos, {"loss": "tv", "weight": 0})
    assert found(report, "tv") == {"zero-weight": Severity.NOTE}
    assert [row.term for row in report.rows] == ["l1"]


@pytest.mark.usefixtures("planted")
def test_half_precision_that_turns_a_gradient_is_told(photos: Path) -> None:
    for dtype, severity in (("bfloat16", Severity.WARNING), ("float32", Severity.NOTE)):
        training = {"dtype": dtype}
        report = lint(photos, {"loss": "cancelling"}, {"loss": "edge"}, training=training)
        assert found(report, "cancelling").get("bfloat16") is severity
        assert "bfloat16" not in found(report, "edge")


@pytest.mark.usefixtures("planted")
def test_an_error_ends_the_start_job_with_its_sentence(photos: Path, tmp_path: Path) -> None:
    definition = tiny.define(photos, losses=[{"loss": "l1"}, {"loss": "cutoff"}])
    bench = tiny.new_bench(tmp_path)
    course = open_course(tiny.job(definition, TrialKind.START), bench, log=tiny.silent)
    tiny.run(course)
    assert course.calibrate
    with pytest.raises(LintFailed, match=r"cutoff: no gradient reaches SR.*torch\.no_grad"):
        course.calibrate()


def test_a_start_jobs_calibration_carries_the_report(photos: Path, tmp_path: Path) -> None:
    definition = tiny.define(photos)
    course = open_course(
        tiny.job(definition, TrialKind.START), tiny.new_bench(tmp_path), log=tiny.silent
    )
    tiny.run(course)
    assert course.calibrate
    calibration = course.calibrate()
    assert calibration.lint is not None
    assert {row.term for row in calibration.lint.rows} == set(calibration.norms)
