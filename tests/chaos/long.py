"""The long run: `python -m tests.chaos.long [--scale 1.0] [--seed 0]`; exits with 1 on a violation."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.chaos.profiles import cut, long
from tests.chaos.run import run
from tests.chaos.table import table


def main() -> None:
    """Run, print the table, and keep the evidence when something was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="times of every fault, relative")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cut", action="store_true", help="the three-minute cut instead")
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="longest storm; 0: the profile's"
    )
    parser.add_argument("--plain", action="store_true", help="without MLflow and real training")
    given = parser.parse_args()
    # Told to end, it still takes down what it has put up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="srtune-chaos-"))
    profile = cut() if given.cut else long(scale=given.scale)
    if given.minutes:
        profile = replace(profile, storm_seconds=60 * given.minutes)
    if given.plain:
        size = replace(profile.size, trainers=0, mlflow=False)
        profile = replace(profile, size=size, images=0)
    judged = run(folder, profile, seed=given.seed, tell=_tell)
    _tell(table(judged))
    _tell(f"evidence: {folder}")
    sys.exit(1 if judged.violations else 0)


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
