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

import losses
from service.contract.reference import reference_term
from service.contract.study import Schedule
from tests.workers import tiny_training as tiny
from tests.workers.tiny_training import Counting
from workers.bench import Bench
from workers.course import open_course
from workers.data.decode import DataError
from workers.optimization import average_decay, rate
from workers.start import first_batch
from workers.trainer import Diverged, Event
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


def test_curves_tell_of_every_network_trained_beside_and_of_the_faces_found(
    photos: Path, tmp_path: Path
) -> None:
    points: list[Mapping[str, float]] = []
    terms = [
        {"loss": "l1"},
        {"loss": "adversarial", "name": "judge", "parameters": {"classes": 2, "channels": 4}},
        {"loss": "cycle", "parameters": {"channels": 4}},
        {"loss": "landmark_prior", "name": "aligned", "parameters": {"faces": "whole"}},
    ]
    definition = tiny.define(photos, losses=terms, data={"classes": tiny.classes(photos)})
    work = tiny.job(definition, weights=dict.fromkeys(("l1", "judge", "cycle", "aligned"), 1.0))
    course = open_course(
        work, tiny.new_bench(tmp_path), log=lambda values, step: points.append(values)
    )
    tiny.run(course)
    told = {key for key in points[-1] if key.split("/")[0] in ("d", "aux", "faces")}
    assert told == {"d/judge", "d/judge.real", "d/judge.fake", "aux/cycle", "faces/aligned"}
    assert points[-1]["faces/aligned"] == 1.0


FACES = [{"loss": "l1"}, {"loss": "landmark_prior", "name": "faces"}]


def test_faces_are_found_once_per_photo_and_counted_in_the_crops_that_hold_them_whole(
    photos: Path, tmp_path: Path
) -> None:
    points: list[Mapping[str, float]] = []
    training = {"steps": 8, "rungs": [], "log_every": 1}
    definition = tiny.define(photos, losses=FACES, training=training)
    one = tiny.OneFace([20.0, 10.0, 44.0, 34.0])
    bench = tiny.new_bench(tmp_path, one)
    start = tiny.make_start(definition, bench)
    for _ in range(2):
        work = tiny.job(definition, start=start, weights={"l1": 1.0, "faces": 1e-3})
        tiny.run(open_course(work, bench, log=lambda values, _: points.append(values)))
    assert one.looked == 2  # photographs to train on
    fractions = [point["faces/faces"] for point in points]
    assert all(0 <= fraction <= 1 for fraction in fractions)
    assert 0 < sum(fractions) < len(fractions)
    assert all((point["grad/faces"] > 0) == (point["faces/faces"] > 0) for point in points)


def test_photos_without_any_face_are_refused_when_a_term_needs_one(
    photos: Path, tmp_path: Path
) -> None:
    work = tiny.job(tiny.define(photos, losses=FACES), weights={"l1": 1.0, "faces": 1.0})
    with pytest.raises(DataError, match=r"no face was found in the 2 photos of data\.train"):
        open_course(work, tiny.new_bench(tmp_path), log=tiny.silent)


def test_nobody_looks_for_faces_when_the_term_is_switched_off(photos: Path, tmp_path: Path) -> None:
    one = tiny.OneFace(None)
    work = tiny.job(tiny.define(photos, losses=FACES), weights={"l1": 1.0, "faces": 0.0})
    tiny.run(open_course(work, tiny.new_bench(tmp_path, one), log=tiny.silent), until=1)
    assert one.looked == 0


def test_networks_beside_the_generator_learn_from_it_and_send_it_no_gradient(
    photos: Path, tmp_path: Path
) -> None:
    """A discriminator on features sees what the generator's terms saw, cut off from the generator."""
    counting = Counting()
    features = {"backbone": "vgg19", "layer": "relu2_2", "discriminator": "features"}
    terms = [
        {"loss": "l1"},
        {"loss": "content", "parameters": {"backbone": "vgg19", "layers": ["relu2_2"]}},
        {"loss": "adversarial", "parameters": features | {"channels": 4}},
    ]
    work = tiny.job(
        tiny.define(photos, losses=terms),
        weights={"l1": 1.0, "content": 0.1, "adversarial": 1e-30},
    )
    bench = Bench(tiny.nothing_to_fetch, torch.device("cpu"), tmp_path, pretrained=counting)
    ends = []
    for weights in (work.weights, work.weights | {"adversarial": 0.0}):
        course = open_course(work.model_copy(update={"weights": weights}), bench, log=tiny.silent)
        before = [
            value.clone()
            for companion in course.state.companions.values()
            for value in companion.network.state_dict().values()
        ]
        tiny.run(course, until=1)
        ends.append(list(course.state.generator.state_dict().values()))
        if before:
            companion = course.state.companions["adversarial"].network
            after = companion.state_dict().values()
            assert any(not torch.equal(x, y) for x, y in zip(before, after, strict=True))
    deepest = counting.passed[: len(counting.passed) // 2]
    assert deepest.count(0) == 2  # HR once and SR once, for both terms and the discriminator
    assert all(torch.equal(x, y) for x, y in zip(*ends, strict=True))


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
    tiny.run(course, until=1)
    with torch.no_grad():
        next(course.state.generator.parameters()).fill_(math.nan)
    with pytest.raises(Diverged, match=r"loss l1 is nan at step 3 \(l1 nan, edge nan\)"):
        tiny.run(course)


def test_generator_that_is_broken_from_the_start_is_named_as_such(
    photos: Path, tmp_path: Path
) -> None:
    work = tiny.job(tiny.define(photos), weights={"l1": 1.0})
    course = open_course(work, tiny.new_bench(tmp_path), log=tiny.silent)
    with torch.no_grad():
        next(course.state.generator.parameters()).fill_(math.nan)
    with pytest.raises(Diverged, match="NaN or infinite pixels before its first step"):
        tiny.run(course)


def test_images_of_the_first_step_are_looked_at_and_later_ones_trusted(
    photos: Path, tmp_path: Path
) -> None:
    work = tiny.job(tiny.define(photos), weights={"l1": 1.0})
    for checked, offset in ((1, 0), (0, 1)):
        course = open_course(work, tiny.new_bench(tmp_path), log=tiny.silent)
        tiny.run(course, until=offset) if offset else None
        with torch.no_grad():
            list(course.state.generator.parameters())[-1].fill_(100.0)  # as if trained on 0..255
        if checked:
            with pytest.raises(losses.UnsuitableInput, match=r"divide 0\.\.255"):
                next(course.events)
        else:
            next(course.events)


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
