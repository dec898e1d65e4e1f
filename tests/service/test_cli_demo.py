"""The demo's definition and its pictures."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.cli.demo import demo_definition
from service.cli.demo_pictures import _CROP, _windows
from service.cli.demo_plots import draw_front, front_figure
from service.cli.study_files import local_problems
from service.contract.study import StudyDefinition
from service.contract.trial import Best, Front, TrialKind, TrialState, TrialView
from service.contract.vocabulary import MetricInfo, Vocabulary
from workers.data.sources import disjoint, load

WORDS = Vocabulary(
    metrics={
        "psnr_y": MetricInfo(
            name="psnr_y", summary="", direction="maximize", side="distortion", unit="dB"
        ),
        "mdsi": MetricInfo(name="mdsi", summary="", direction="minimize", side="perception"),
    }
)


def trial(number: int, psnr: float, mdsi: float, origin: str = "sampler") -> TrialView:
    """A complete trial with these scores."""
    return TrialView(
        study_id="s", uid=f"t{number}", number=number, kind=TrialKind.SEARCH, origin=origin,
        state=TrialState.COMPLETE, reason="", seed=0, shares={}, weights={},
        metrics={"psnr_y": psnr, "mdsi": mdsi}, rungs={}, step=1, steps=1, steps_per_second=0.0,
        attempts=[], weights_blob=None, created=0.0, finished=1.0, train_seconds=1.0, tracking=None,
    )  # fmt: skip


def front_of(points: list[tuple[float, float]]) -> tuple[Front, Best]:
    """A front through these points, with two baselines beside it."""
    members = [trial(index + 3, *point) for index, point in enumerate(points)]
    baselines = [trial(1, 31.0, 0.5, "baseline"), trial(2, 29.0, 0.2, "recipe:esrgan")]
    front = Front(
        objectives=["psnr_y", "mdsi"],
        directions=["maximize", "minimize"],
        members=members,
        dominated=baselines,
    )
    chosen = members[len(members) // 2]
    return front, Best(trial=chosen, rule="the knee", baselines=baselines, beats={})


def test_the_demo_is_a_valid_study_of_the_promised_size() -> None:
    raw = demo_definition()
    assert local_problems(raw) == []
    definition = StudyDefinition.model_validate(raw, strict=False)
    assert definition.budget.trials >= 12
    assert set(definition.search.recipes) == {"pixel", "esrgan", "srgan"}
    assert [term.key for term in definition.losses] == ["l1", "content", "adversarial", "edge"]
    assert "vmaf_neg" in definition.metrics


def test_the_demo_scores_on_photographs_it_does_not_train_on() -> None:
    data = demo_definition()["data"]
    train, validation = load(data["train"]), load(data["validation"])
    assert (len(train), len(validation)) == (5, 2)
    disjoint(train, validation)


def test_a_smaller_demo_is_still_valid() -> None:
    raw = demo_definition(trials=4, steps=10)
    assert local_problems(raw) == []
    assert (raw["training"]["steps"], raw["budget"]["trials"]) == (10, 4)


@settings(max_examples=5, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=14, unique=True))
def test_labels_of_a_front_touch_neither_each_other_nor_the_legend(places: list[float]) -> None:
    front, best = front_of([(29 + 2 * p, 0.2 + 0.3 * p**2) for p in sorted(places)])
    figure = front_figure(front, best, WORDS)
    figure.canvas.draw()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    legend = axes.get_legend()
    assert legend is not None
    for one, other in itertools.combinations([*boxes, legend.get_window_extent()], 2):
        assert not one.overlaps(other)


def test_the_front_names_the_chosen_point_and_the_baselines(tmp_path: Path) -> None:
    front, best = front_of([(29.5, 0.25), (30.2, 0.3), (30.8, 0.42)])
    figure = front_figure(front, best, WORDS)
    said = {text.get_text() for text in figure.axes[0].texts}
    assert said == {"plain L1", "esrgan", "chosen: trial 4", "trial 3", "trial 5"}
    assert "→ better" in figure.axes[0].get_xlabel()
    assert "↓ better" in figure.axes[0].get_ylabel()
    with Image.open(draw_front(front, best, WORDS, tmp_path / "front.png")) as picture:
        assert picture.size == (1200, 800)


@pytest.mark.parametrize("side", [_CROP, 200, 300])
def test_crops_lie_inside_the_photograph_and_apart(side: int) -> None:
    photo = torch.randint(0, 256, (3, side, side + 100), generator=torch.Generator().manual_seed(0))
    corners = _windows(photo.to(torch.uint8), count=2)
    assert corners
    for top, left in corners:
        assert top + _CROP <= side
        assert left + _CROP <= side + 100
    for (t, x), (u, y) in itertools.combinations(corners, 2):
        assert max(abs(t - u), abs(x - y)) >= _CROP


def test_crops_go_where_the_detail_is() -> None:
    photo = torch.full((3, 300, 300), 128, dtype=torch.uint8)
    photo[:, 176:288, 16:128:2] = 255
    assert _windows(photo, count=1) == [(176, 16)]
