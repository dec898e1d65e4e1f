"""Trials per hour of our worker against a plain PyTorch script that does the same training.

    python -m benchmarks.trial_rate [--steps 300] [--trials 2] [--core 0]

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
#: The baseline as one usually finds it, and with every photograph decoded only once.
KINDS = ("PNG per crop", "decoded once")


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
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--trials", type=int, default=2)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--in-memory", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    raw = study(given.steps, given.trials)
    definition = check(raw, vocabulary())
    if given.plain:
        torch.set_num_threads(1)
        print(plain_training(definition, given.plain, given.plain, in_memory=given.in_memory))
        return

    with tempfile.TemporaryDirectory() as scratch:
        pngs = Path(scratch) / "pngs"
        pngs.mkdir()
        write_pngs(definition, pngs)
        plain = {kind: [plain_in_process(pngs, given, kind)] for kind in KINDS}
        ours, span = our_trials(raw, Path(scratch) / "data", given.core)
        for kind in KINDS:
            plain[kind].append(plain_in_process(pngs, given, kind))
    report(plain, ours, span, given)
    breakdown.main(raw, given.steps)


def plain_in_process(pngs: Path, given: argparse.Namespace, kind: str) -> float:
    arguments = ["--steps", str(given.steps), "--trials", str(given.trials), "--plain", str(pngs)]
    arguments += ["--in-memory"] if kind == "decoded once" else []
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


def report(
    plain: dict[str, list[float]], ours: list[float], span: float, given: argparse.Namespace
) -> None:
    rate = 3600 * len(ours) / span
    print(f"{given.steps} steps a trial, 1 core, 1 thread, load {os.getloadavg()[0]:.1f}")
    print(f"srtune worker             {rate:6.1f} trials an hour ({_listed(ours)} s a trial)")
    print(f"  between its trials      {(span - sum(ours)) / len(ours):6.2f} s")
    for kind, times in plain.items():
        theirs = 3600 / statistics.median(times)
        print(f"plain, {kind:18} {theirs:6.1f} trials an hour ({_listed(times)} s a trial)")
        print(f"  ratio                   {rate / theirs:6.2f}")


def _listed(seconds: list[float]) -> str:
    return ", ".join(f"{second:.1f}" for second in seconds)


if __name__ == "__main__":
    main()
