"""Real processes, killed, frozen, cut off and drowned in repeats, break no promise."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.processes import possible
from tests.chaos.profiles import cut, long
from tests.chaos.run import Profile, run
from tests.chaos.table import table

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user can reach too; kept if it holds evidence."""
    if reason := possible():
        pytest.skip(reason)
    made = Path(tempfile.mkdtemp(prefix="srtune-chaos-"))
    yield made
    if not (made / "guilty").exists():
        shutil.rmtree(made, ignore_errors=True)


def judge(folder: Path, profile: Profile, seed: int) -> None:
    judged = run(folder, profile, seed=seed, tell=_tell)
    _tell(table(judged))
    if judged.violations:
        (folder / "guilty").touch()
    assert not judged.violations, f"evidence in {folder}"
    assert any(attempt["outcome"] == "complete" for attempt in judged.tables.attempts)


@pytest.mark.timeout(900)
def test_no_promise_is_broken_in_three_minutes_of_chaos(folder: Path) -> None:
    judge(folder, cut(), seed=1)


@pytest.mark.long
@pytest.mark.timeout(6 * 3600)
def test_no_promise_is_broken_in_the_long_run(folder: Path) -> None:
    judge(folder, long(), seed=2)


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
