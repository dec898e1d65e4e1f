"""The training loop: when it speaks, what it says, how the rate falls, and that it learns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from service.contract.reference import reference_term
from service.contract.study import Schedule
from tests.workers import tiny_training as tiny
from workers.course import open_course
from workers.start import first_batch
from workers.trainer import Diverged, Event, average_decay, rate
from workers.vocabulary import vocabulary


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_photos(tmp_path_factory.mktemp("photos"))


def test_events_come_at_rungs_checkpoints_and_the_end(photos: Path, tmp_path: Path) -> None:
    definition = tiny.define(
        photos, training={"steps": 8, "rungs": [0.25, 0.75], "checkpoint_every": 5}
    )
    work = tiny.job(definition, weights={"l1": 1.0})
    events = tiny.run(open_course(work, tiny.new_bench(tmp_path), log=tiny.silent))
    expected = {2: Event.RUNG, 5: Event.CHECKPOINT, 6: Event.RUNG, 8: Event.DONE}
    assert events == [expected.get(step, Event.STEP) for step in range(1, 9)]


def test_curves_have_value_weight_gradient_and_share_of_every_live_term(
    photos: Path, tmp_path: Path
) -> None:
    curves: dict[int, Mapping[str, float]] = {}
    definition = tiny.define(photos)
    work = tiny.job(definition, weights=tiny.WEIGHTS | {"edge": 0.0})
    course = open_course(
        work, tiny.new_bench(tmp_path), log=lambda values, step: curves.update({step: values})
    )
    tiny.run(course)
    assert sorted(curves) == [3, 4, 6, 8]  # log_every 3, the rung, the end
    point = curves[8]
    for kind in ("loss", "weight", "grad", "share"):
        assert {key for key in point if key.startswith(f"{kind}/")} - {"loss/total"} == {
            f"{kind}/{term}" for term in ("l1", "content", "adversarial")
        }
    assert sum(
        point[f"share/{term}"] for term in ("l1", "content", "adversarial")
    ) == pytest.approx(1)
    assert {"d/adversarial", "d/adversarial.real", "d/adversarial.fake"} < point.keys()
    assert point["speed/it_per_s"] > 0
    assert all(math.isfinite(value) for values in curves.values() for value in values.values())


def test_training_on_l1_makes_l1_fall(photos: Path, tmp_path: Path) -> None:
    curves: list[float] = []
    definition = tiny.define(photos, training={"steps": 60, "log_every": 1, "rungs": []})
    work = tiny.job(definition, weights={"l1": 1.0})
    tiny.run(
        open_course(
            work, tiny.new_bench(tmp_path), log=lambda values, _: curves.append(values["loss/l1"])
        )
    )
    assert sum(curves[-10:]) < 0.5 * sum(curves[:10])


def test_loss_that_is_not_finite_ends_the_training_with_its_name(
    photos: Path, tmp_path: Path
) -> None:
    work = tiny.job(tiny.define(photos), weights={"l1": 1.0, "edge": 1.0})
    course = open_course(work, tiny.new_bench(tmp_path), log=tiny.silent)
    with torch.no_grad():
        next(course.state.generator.parameters()).fill_(math.nan)
    with pytest.raises(Diverged, match=r"loss l1 is nan at step 3 \(l1 nan, edge nan\)"):
        tiny.run(course)


def note_total(totals: list[float], values: Mapping[str, float], step: int) -> None:
    totals.append(values["loss/total"])


def test_bfloat16_trains_to_nearly_the_same_losses(photos: Path, tmp_path: Path) -> None:
    ends = []
    for dtype in ("float32", "bfloat16"):
        totals: list[float] = []
        work = tiny.job(tiny.define(photos, training={"dtype": dtype}))
        tiny.run(open_course(work, tiny.new_bench(tmp_path), log=partial(note_total, totals)))
        ends.append(totals[-1])
    assert ends[0] != ends[1]
    assert ends[0] == pytest.approx(ends[1], rel=0.03)


def test_trial_begins_where_the_stream_of_batches_of_the_start_ended(photos: Path) -> None:
    assert first_batch(tiny.define(photos)) == 5 + 3 + 2


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        (["l1", "charbonnier"], "l1"),
        (["tv", "charbonnier"], "charbonnier"),
        (["content", "adversarial"], None),
        (["adversarial", "edge", "l1"], "l1"),
    ],
)
def test_the_start_trains_on_the_first_searched_pixel_loss(
    photos: Path, losses: list[str], expected: str | None
) -> None:
    definition = tiny.define(photos, losses=[{"loss": loss} for loss in losses])
    found = reference_term(definition, vocabulary())
    assert (found.key if found else None) == expected


def test_rate_follows_its_schedule() -> None:
    cosine = Schedule(name="cosine", floor=0.1)
    assert [rate(cosine, step, 100) for step in (0, 50, 100)] == pytest.approx([1.0, 0.55, 0.1])
    halves = Schedule(name="multistep", milestones=[0.5, 0.75])
    assert [rate(halves, step, 100) for step in (49, 50, 74, 75)] == [1.0, 0.5, 0.5, 0.25]
    assert rate(Schedule(name="constant"), 99, 100) == 1.0


@given(st.floats(0.5, 0.9999), st.integers(0, 10**6))
def test_average_forgets_fast_at_first_and_never_slower_than_asked(decay: float, step: int) -> None:
    assert average_decay(decay, step) <= average_decay(decay, step + 1) <= decay
    assert average_decay(decay, 0) == pytest.approx(0.1)
