"""What a training says is on disk, and only what was committed goes out."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.tracking import Spool
from workers.tracking import folder as layout

_TRAINING = """
import sys, time
from pathlib import Path
from workers.tracking.spool import Spool
spool = Spool(Path(sys.argv[1]), "u", 1)
for step in range(1000):
    spool.metrics({"loss/total": step}, step)
    if step == 600:
        spool.commit()
sys.stdout.write("ready\\n")
sys.stdout.flush()
time.sleep(600)
"""
_FULL_DISK = """
import logging, resource, sys
from pathlib import Path
from workers.tracking.spool import Spool
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
spool = Spool(Path(sys.argv[1]), "u", 1)
for step in range(200):
    spool.metrics({"loss/total": step}, step)
    spool.commit()
spool.image("sample", 1, b"x" * 5000)
spool.close()
"""


def outgoing(folder: Path) -> list[dict[str, Any]]:
    """The records that may go out."""
    text = (folder / layout.JOURNAL).read_bytes()[: layout.committed(folder)]
    return [json.loads(line) for line in text.splitlines()]


def steps(folder: Path) -> list[int]:
    return [record["step"] for record in outgoing(folder)]


def test_nothing_goes_out_before_its_commit(tmp_path: Path) -> None:
    with Spool(tmp_path, "u", 1) as spool:
        spool.metrics({"loss/total": 1.0}, 1)
        assert steps(spool.folder) == []
        spool.commit()
        spool.metrics({"loss/total": 2.0}, 2)
    assert steps(spool.folder) == [1]


def test_a_commit_up_to_a_mark_holds_back_what_came_later(tmp_path: Path) -> None:
    with Spool(tmp_path, "u", 1) as spool:
        spool.metrics({"loss/total": 1.0}, 1)
        mark = spool.mark()
        spool.metrics({"loss/total": 2.0}, 2)
        spool.commit(mark)
        assert steps(spool.folder) == [1]
        spool.commit()
    assert steps(spool.folder) == [1, 2]


_SAID = st.lists(st.sampled_from(["point", "commit", "rollback", "reopen"]), max_size=30)


@given(_SAID)
def test_what_goes_out_is_what_was_committed(said: list[str]) -> None:
    held: list[int] = []
    expected: list[int] = []
    with tempfile.TemporaryDirectory() as root:
        spool = Spool(Path(root), "u", 1)
        for step, word in enumerate(said):
            match word:
                case "point":
                    spool.metrics({"loss/total": 0.5}, step)
                    held.append(step)
                case "commit":
                    spool.commit()
                    expected, held = expected + held, []
                case "rollback":
                    spool.rollback()
                    held = []
                case _:
                    spool.close()
                    spool, held = Spool(Path(root), "u", 1), []
        spool.close()
        assert steps(spool.folder) == expected


def test_values_that_are_not_finite_are_dropped(tmp_path: Path) -> None:
    with Spool(tmp_path, "u", 1) as spool:
        spool.metrics({"a": math.inf, "b": math.nan, "c": 1.5}, 1)
        spool.metrics({"a": -math.inf}, 2)
        spool.commit()
    assert [record["metrics"] for record in outgoing(spool.folder)] == [{"c": 1.5}]


def test_a_point_keeps_the_time_of_its_birth(tmp_path: Path) -> None:
    before = time.time_ns() // 1_000_000
    with Spool(tmp_path, "u", 1) as spool:
        spool.metrics({"a": 1.0}, 1)
        spool.metrics({"a": 2.0}, 2, at=1234.5678)
        spool.commit()
    first, second = outgoing(spool.folder)
    assert before <= first["time"] <= time.time_ns() // 1_000_000 + 1
    assert second["time"] == 1_234_568


def test_a_killed_training_leaves_its_committed_points_only(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", _TRAINING, str(tmp_path)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as training:
        assert training.stdout is not None
        training.stdout.readline()
        assert layout.lock(tmp_path / "u-1" / layout.OWNER) is None
        os.kill(training.pid, signal.SIGKILL)
    assert steps(tmp_path / "u-1") == list(range(601))
    with layout.locked(tmp_path / "u-1" / layout.OWNER) as orphan:
        assert orphan


def test_a_full_disk_costs_points_and_nothing_else(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(tmp_path)],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.count("have gaps") == 1
    kept = steps(tmp_path / "u-1")
    assert kept == list(range(len(kept)))
    assert 10 < len(kept) < 200


def test_a_folder_that_cannot_be_made_does_not_stop_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with caplog.at_level(logging.ERROR), Spool(blocked, "u", 1) as spool:
        spool.metrics({"a": 1.0}, 1)
        spool.commit()
    assert "have gaps" in caplog.text


def test_saying_something_takes_microseconds(tmp_path: Path) -> None:
    values = {f"loss/{n}": n / 3 for n in range(12)}
    with Spool(tmp_path, "u", 1) as spool:
        began = time.process_time()
        for step in range(2000):
            spool.metrics(values, step)
        each = (time.process_time() - began) / 2000
    assert each < 500e-6
