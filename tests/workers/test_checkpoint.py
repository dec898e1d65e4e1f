"""Checkpoints are whole or not there, and say clearly what is wrong with them."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from service.contract.study import Optimizer
from service.contract.trial import FailureCause
from workers.checkpoint import CheckpointUnreadable, DiskFull, TrainState, average_of, load, save
from workers.failures import cause_of, sentence
from workers.optimization import optimizer


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process may grow beyond 4 KB; not for longer than needed, pytest writes too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def state_of(width: int = 4) -> TrainState:
    generator = nn.Linear(width, width)
    return TrainState(
        generator, optimizer(Optimizer(), generator.parameters()), average_of(generator), step=3
    )


def test_disk_without_room_is_one_sentence_and_leaves_the_old_checkpoint(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state.pt"
    save({"old": 1}, path)
    full = pytest.raises(DiskFull, match=r"no room for 0\.\d MB in .*another folder")
    with no_room(), full as caught:
        save({"big": torch.zeros(100_000)}, path)
    assert load(path)["old"] == 1
    assert list(tmp_path.iterdir()) == [path]
    cause = cause_of(caught.value)
    assert cause is FailureCause.STORAGE
    assert sentence(caught.value, cause, 7) == str(caught.value)


def test_state_of_another_training_is_refused(tmp_path: Path) -> None:
    state_of(4).save(tmp_path / "four.pt")
    with pytest.raises(CheckpointUnreadable, match="another training"):
        state_of(5).restore(tmp_path / "four.pt")


def test_restored_state_has_its_step_and_its_optimiser(tmp_path: Path) -> None:
    first, second = state_of(), state_of()
    first.generator(torch.ones(4)).sum().backward()
    first.optimizer.step()
    first.save(tmp_path / "state.pt")
    second.restore(tmp_path / "state.pt")
    assert second.step == 3
    moments = [s["exp_avg"] for s in second.optimizer.state_dict()["state"].values()]
    assert len(moments) == 2
    assert all(moment.abs().sum() > 0 for moment in moments)


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all"])
def test_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointUnreadable, match=r"state\.pt cannot be read"):
        load(path)


def test_checkpoint_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    torch.save({"format": 1, "evil": Evil(tmp_path / "ran")}, path)
    with pytest.raises(CheckpointUnreadable):
        load(path)
    assert not (tmp_path / "ran").exists()


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.path,))
