"""What a study says about itself."""

from __future__ import annotations

from typing import Any

import pytest

from service import progress as going
from service import results, scores, views
from service.contract.errors import InvalidRequest, TrialNotFound
from service.contract.trial import Action, Lease, TrialState
from service.models import Study, Trial

Bench = Any


def _read(bench: Bench, study: str, question: Any, *args: Any) -> Any:
    with bench.database.reading() as session:
        return question(session, session.get_one(Study, study), *args)


def test_the_time_left_is_unknown_until_something_finished(bench: Bench) -> None:
    study = bench.calibrated()
    assert _read(bench, study, going.progress).seconds_left is None


def test_the_time_left_is_what_remains_by_the_mean_over_the_slots(bench: Bench) -> None:
    study = bench.calibrated()
    bench.propose()
    bench.complete(bench.lease()[0], train_seconds=10.0)
    assert _read(bench, study, going.progress).seconds_left == pytest.approx(50.0)
    [lease] = bench.lease()
    with bench.database.writing() as session:
        session.get_one(Trial, lease.job.uid).step = 40
    assert _read(bench, study, going.progress).seconds_left == pytest.approx(46.0)
    bench.register("two", slots=3)
    assert _read(bench, study, going.progress).seconds_left == pytest.approx(46.0 / 4)


def test_progress_counts_every_state(bench: Bench) -> None:
    study = bench.calibrated()
    bench.propose()
    bench.complete(bench.lease()[0])
    bench.lease()
    progress = _read(bench, study, going.progress)
    assert (progress.budget_trials, progress.done_trials) == (6, 1)
    assert progress.states[TrialState.COMPLETE] == 2
    assert progress.states[TrialState.LEASED] == 1
    assert sum(progress.states.values()) == 3


def test_the_front_holds_what_nothing_beats_best_last(bench: Bench) -> None:
    study = bench.calibrated(budget={"trials": 4})
    scores = iter([(30.0, 0.3), (29.0, 0.1), (28.0, 0.2), (31.0, 0.4)])
    bench.propose()
    while leases := bench.lease():
        psnr, mdsi = next(scores)
        bench.complete(leases[0], metrics={"psnr_y": psnr, "mdsi": mdsi})
        bench.propose()
    front = _read(bench, study, results.front, bench.vocabulary)
    assert [member.number for member in front.members] == [2, 1, 4]
    assert [beaten.number for beaten in front.dominated] == [3]
    assert front.directions == ["maximize", "minimize"]
    best = _read(bench, study, results.best, bench.vocabulary, None)
    assert (best.trial.number, best.rule.startswith("the knee")) == (1, True)
    preferred = _read(bench, study, results.best, bench.vocabulary, "mdsi")
    assert preferred.trial.number == 2
    [beats] = preferred.beats.values()
    assert beats == {"psnr_y": False, "mdsi": True}
    with pytest.raises(InvalidRequest, match="'beauty'"):
        _read(bench, study, results.best, bench.vocabulary, "beauty")


def _six_ranked_trials_then_one_more(bench: Bench) -> tuple[str, Lease]:
    """A study whose rungs rank as its ends do, and the lease of its seventh trial."""
    study = bench.calibrated(budget={"trials": 12}, pruning={"trials": 6, "keep": 0.5})
    bench.propose()
    for rank in range(6):
        [lease] = bench.lease()
        metrics = {"psnr_y": 30.0 + rank, "mdsi": 0.3 - rank / 100}
        for step in (25, 50, 75):
            assert bench.report(lease, step, metrics=metrics).action is Action.CONTINUE
        bench.complete(lease, metrics=metrics)
        bench.propose()
    [lease] = bench.lease()
    return study, lease


POOR = {"psnr_y": 10.0, "mdsi": 0.9}


def test_a_trial_that_cannot_win_is_stopped_where_ranks_are_known_to_hold(bench: Bench) -> None:
    study, lease = _six_ranked_trials_then_one_more(bench)
    assert bench.report(lease, 25, metrics=POOR).action is Action.CONTINUE
    verdict = bench.report(lease, 50, metrics=POOR)
    assert verdict.action is Action.PRUNE
    assert bench.report(lease, 50, metrics=POOR).action is Action.PRUNE
    trial = bench.trials(study)[lease.job.number]
    assert (trial.state, trial.reason) == (TrialState.PRUNED, verdict.reason)
    transfer = _read(bench, study, scores.transfer)
    assert [one.correlation["psnr_y"] for one in transfer] == pytest.approx([1.0, 1.0, 1.0])


def test_a_recipe_is_trained_through_however_poor_because_others_are_compared_with_it(
    bench: Bench,
) -> None:
    _, lease = _six_ranked_trials_then_one_more(bench)
    with bench.database.writing() as session:
        session.get_one(Trial, lease.job.uid).origin = "recipe:esrgan"
    assert bench.report(lease, 50, metrics=POOR).action is Action.CONTINUE


def test_importance_names_every_searched_term(bench: Bench) -> None:
    study = bench.calibrated(budget={"trials": 10})
    bench.run_through(study)
    importance = _read(bench, study, results.importance, bench.vocabulary)
    assert [one.objective for one in importance] == ["psnr_y", "mdsi"]
    assert set(importance[0].terms) == {"l1", "content", "edge"}


def test_a_number_that_does_not_exist_is_told_with_the_range(bench: Bench) -> None:
    study = bench.calibrated()
    with pytest.raises(TrialNotFound, match="trials are 0 to 1"):
        _read(bench, study, views.trial_numbered, 7)


def test_pages_of_trials_hold_each_once(bench: Bench) -> None:
    study = bench.calibrated()
    bench.run_through(study)
    numbers: list[int] = []
    cursor: str | None = "0"
    while cursor is not None:
        with bench.database.reading() as session:
            row = session.get_one(Study, study)
            page, cursor = views.trial_page(session, row, state=None, cursor=int(cursor), limit=3)
        numbers += [view.number for view in page]
    assert numbers == list(range(7))
