"""What pages say, without MLflow."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest

from service.contract.study import StudyDefinition
from service.contract.trial import TrialKind, TrialState
from service.contract.vocabulary import Vocabulary
from service.models import Study, Trial
from service.tracking.outcome import outcome_files
from service.tracking.pages import experiment_note, rounded, run_name
from service.tracking.views import view_link, view_tag


@pytest.mark.parametrize(
    ("kind", "origin", "weights", "name"),
    [
        (TrialKind.START, "start", {}, "t007 start"),
        (TrialKind.SEARCH, "sampler", {"l1": 1.1312, "gan": 0.00561}, "t007 l1=1.13 gan=0.00561"),
        (TrialKind.SEARCH, "recipe:esrgan", {"l1": 0.01, "tv": 0}, "t007 esrgan l1=0.01"),
        (TrialKind.SEARCH, "baseline:pixel", {"l1": 1.0}, "t007 pixel l1=1"),
        (TrialKind.CONFIRM, "confirm:3", {"l1": 1.0}, "t007 confirm l1=1"),
    ],
)
def test_run_names_explain_themselves(
    kind: TrialKind, origin: str, weights: dict[str, float], name: str
) -> None:
    assert run_name(Trial(number=7, kind=kind, origin=origin, weights=weights)) == name


@pytest.mark.parametrize(
    ("value", "shown"), [(27.123456, 27.1235), (0.00012345678, 0.0001235), (0.0, 0.0), (-3, -3)]
)
def test_results_have_four_digits(value: float, shown: float) -> None:
    assert rounded(value) == shown


def test_the_note_begins_with_a_plain_sentence(study: Study) -> None:
    note = experiment_note(study, charts="#/charts", link="http://here/api/v1/studies/1")
    assert note.splitlines()[0] == "Loss weights of espcn ×2: l1, content."
    assert "[Charts of this study](#/charts)" in note


def test_the_view_fits_into_a_tag_and_names_existing_keys() -> None:
    terms = [{"loss": "l1", "name": f"term_{'x' * 20}_{n}"} for n in range(16)]
    definition = StudyDefinition.model_validate(
        {
            "name": "widest",
            "data": {"train": ["a"], "validation": ["b"]},
            "model": {"name": "espcn"},
            "losses": terms,
            "objectives": ["psnr_y", "mdsi", "vmaf_neg", "hf_energy_error"],
        }
    )
    ((key, value),) = view_tag(definition, created_ms=1).items()
    assert len(value) < 20_000
    assert view_link("7") == (
        "#/experiments/7/runs?viewStateShareKey=srtune-overview&compareRunsMode=CHART"
    )
    assert key == "mlflow.sharedViewState.srtune-overview"
    state = _state(value)
    assert "metrics.`result/psnr_y`" in state["selectedColumns"]
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == sections
    assert len({chart["uuid"] for chart in state["compareRunCharts"]}) > 40


def test_the_front_leaves_dominated_trials_out(study: Study, vocabulary: Vocabulary) -> None:
    definition = StudyDefinition.model_validate_json(json.dumps(study.definition))
    scores = [(27.0, 0.3), (28.0, 0.2), (26.0, 0.1), (27.5, 0.25)]
    trials = [
        Trial(
            uid=str(n),
            number=n,
            kind=TrialKind.SEARCH,
            state=TrialState.COMPLETE,
            origin="sampler",
            weights={"l1": 1.0, "content": n / 10},
            shares={"l1": 0.5, "content": 0.5},
            metrics={"psnr_y": psnr, "hf_energy_error": error},
        )
        for n, (psnr, error) in enumerate(scores)
    ]
    files = outcome_files(definition, vocabulary, trials)
    front = json.loads(files["front.json"])
    assert [row[0] for row in front["data"]] == [2, 1]
    assert list(json.loads(files["weights.json"])) == ["t002", "t001"]


def _state(value: str) -> dict[str, Any]:
    packed = json.loads(value)["state"].removeprefix("deflate;")
    state = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert isinstance(state, dict)
    return state
