"""Trials per hour of our worker against a plain PyTorch script that does the same training.

    python -m benchmarks.trial_rate [--steps 400] [--trials 3] [--core 0]

Both sides are pinned to one processor core and one thread, train the same model with the same
losses on the same photographs for the same steps, score the same validation images at the same
rungs, write a checkpoint there and log the same curves. The baseline is what one would write by
hand: a DataLoader that decodes PNGs, features of SR and HR in two passes, Adam, a CSV. Ours is the
real thing: a service with MLflow in processes of their own, a worker that pulls over HTTP. The two
take turns, and the ratio is of medians of one run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks import breakdown
from benchmarks.breakdown import wait_for
from benchmarks.plain_script import plain_training, write_pngs
from service.cli.demo import demo_definition
from service.cli.stack import Plan, Stack
from service.client import Client
from service.contract.checking import check
from service.contract.trial import StudyState, TrialKind
from workers.vocabulary import vocabulary

ROOT = Path(__file__).parents[1]


def our_trials(definition: dict[str, Any], folder: Path, core: int) -> tuple[list[float], float]:
    """Seconds per trial of a worker on one core, and seconds from the first lease to the last end."""
    pin = {"OMP_NUM_THREADS": "1"}
    plan = Plan(data=folder, devices=("cpu",), threads=1, environment=pin)
    with Stack(plan, tell=lambda _line: None) as stack, Client(stack.url) as client:
        wait_for(lambda: "worker-0" in stack.pids())
        subprocess.run(
            ["taskset", "-a", "-c", "-p", str(core), str(stack.pids()["worker-0"])],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        study = client.submit(definition)
        wait_for(lambda: client.study(study.id).state is not StudyState.ACTIVE, 3600)
        trials = [t for t in client.trials(study.id) if t.kind is TrialKind.SEARCH]
        times = [(t.attempts[-1].started, t.finished or 0.0) for t in trials]
    return [end - start for start, end in times], times[-1][1] - times[0][0]


def study(steps: int, trials: int) -> dict[str, Any]:
    """The demo's study, every term in every trial, so that both sides compute the same."""
    definition = demo_definition()
    definition["losses"] = [
        {key: value for key, value in term.items() if key != "share"} | {"share": [0.02, 0.9]}
        for term in definition["losses"]
    ]
    definition["training"] |= {"steps": steps, "rungs": [0.5]}
    definition["training"]["warmup"] |= {"steps": 20, "discriminator_steps": 5}
    definition["search"] = {"recipes": [], "startup": trials}
    definition["budget"] = {"trials": trials}
    return definition


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    raw = study(given.steps, given.trials)
    definition = check(raw, vocabulary())
    if given.plain:
        torch.set_num_threads(1)
        print(plain_training(definition, given.plain, given.plain))
        return

    with tempfile.TemporaryDirectory() as scratch:
        pngs = Path(scratch) / "pngs"
        pngs.mkdir()
        write_pngs(definition, pngs)
        plain = [plain_in_process(pngs, given)]
        ours, span = our_trials(raw, Path(scratch) / "data", given.core)
        plain += [plain_in_process(pngs, given) for _ in range(2)]
    report(plain, ours, span, given)
    breakdown.main(raw, given.steps)


def plain_in_process(pngs: Path, given: argparse.Namespace) -> float:
    arguments = ["--steps", str(given.steps), "--trials", str(given.trials), "--plain", str(pngs)]
    answer = subprocess.run(
        [
            "taskset",
            "-c",
            str(given.core),
            sys.executable,
            "-m",
            "benchmarks.trial_rate",
            *arguments,
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return float(answer.stdout)


def report(plain: list[float], ours: list[float], span: float, given: argparse.Namespace) -> None:
    by_hand = statistics.median(plain)
    between = span - sum(ours)
    print(f"{given.steps} steps a trial, 1 core, 1 thread, load {os.getloadavg()[0]:.1f}")
    print(f"plain script   {by_hand:7.1f} s a trial ({', '.join(f'{s:.1f}' for s in plain)})")
    rate = 3600 * len(ours) / span
    print(
        f"srtune worker  {span / len(ours):7.1f} s a trial ({', '.join(f'{s:.1f}' for s in ours)})"
    )
    print(f"between trials {between / len(ours):7.2f} s")
    print(
        f"trials an hour {rate:7.1f} against {3600 / by_hand:.1f}: ratio {rate * by_hand / 3600:.2f}"
    )


if __name__ == "__main__":
    main()
