"""A worker whose service is silent, whose memory is short, or whose study names what it must not."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from losses import FeatureSource
from losses._features import FeatureNetwork
from service.contract.trial import FailureCause
from tests.workers import tiny_training as tiny
from tests.workers.agents import long, new_agent, wait, working
from tests.workers.small_service import SmallService
from workers.allowance import Allowance
from workers.checkpoint import TrainState


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def service() -> SmallService:
    return SmallService()


def test_training_waits_at_a_checkpoint_when_the_lease_ended_in_silence(
    service: SmallService, photos: Path, tmp_path: Path
) -> None:
    service.offer(tiny.job(long(photos, checkpoint_every=5)))
    with working(new_agent(service, tmp_path)) as agent:
        wait(lambda: service.beats and agent.sessions[0].holding.step > 5)
        (session,) = agent.sessions
        service.away = True
        time.sleep(0.1)
        session.holding.renewed -= 1000  # as if it had been silent for so long
        wait(lambda: session.waiting)
        step = session.holding.step
        assert step % 5 == 0
        time.sleep(0.3)
        assert session.holding.step == step
        service.away = False
        wait(lambda: session.holding.step > step)
    steps = [body["step"] for kind, body in service.told if kind == "reports"]
    assert step in steps
    assert steps == sorted(steps)


def test_a_worker_that_was_cut_off_stops_as_soon_as_it_hears_that_the_lease_is_lost(
    service: SmallService, photos: Path, tmp_path: Path
) -> None:
    service.offer(tiny.job(long(photos, checkpoint_every=5)))
    with working(new_agent(service, tmp_path)) as agent:
        wait(lambda: service.beats)
        (session,) = agent.sessions
        service.away = True
        time.sleep(0.1)
        session.holding.renewed -= 1000
        wait(lambda: session.waiting)
        told = len(service.told)
        service.lost.add("l1")
        service.away = False
        wait(lambda: not agent.sessions, 3)
    assert len(service.told) == told


def test_rungs_passed_in_silence_are_reported_together(
    service: SmallService, photos: Path, tmp_path: Path
) -> None:
    service.expires_in = 1000.0  # so that nothing waits, however slow this machine is
    rungs = {"steps": 100_000, "rungs": [0.0002, 0.0004, 0.0006, 0.0008]}
    service.offer(tiny.job(tiny.define(photos, training=rungs)))
    with working(new_agent(service, tmp_path)) as agent:
        wait(lambda: "reports" in service.kinds())
        service.away = True
        wait(lambda: agent.sessions[0].holding.step > 85, 120)
        service.away = False
        wait(lambda: service.last("reports")["step"] == 80)
    reports = [body for kind, body in service.told if kind == "reports"]
    told = [rung["step"] for body in reports for rung in [*body["earlier"], body]]
    assert told == [20, 40, 60, 80]
    assert len(reports) < 4


class Greedy(tiny.Narrow):
    """Networks that run out of memory once, some steps into a training."""

    def __init__(self) -> None:
        self.passes = 0

    def feature_network(self, source: FeatureSource) -> FeatureNetwork:
        found = super().feature_network(source)
        first = next(part for part in found.modules() if isinstance(part, torch.nn.Conv2d))
        first.register_forward_pre_hook(self._count)
        return found

    def _count(self, *_: object) -> None:
        self.passes += 1
        if self.passes == 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")


def trainings() -> int:
    """States of trainings in memory, those that only wait to be collected included."""
    return sum(type(thing) is TrainState for thing in gc.get_objects())


def test_a_trial_out_of_memory_gives_it_back_at_once_and_the_next_is_trained(
    service: SmallService, photos: Path, tmp_path: Path
) -> None:
    definition, greedy = tiny.define(photos), Greedy()
    service.offer(tiny.job(definition))
    service.offer(tiny.job(definition, uid="u2"))
    service.refuse["failure"] = (503, "Unavailable")  # others train on meanwhile
    with working(new_agent(service, tmp_path, pretrained=greedy)) as agent:
        wait(lambda: agent.sessions and agent.sessions[0].waiting)
        assert greedy.passes == 5
        assert trainings() == 0
        del service.refuse["failure"]
        wait(lambda: "result" in service.kinds())
    assert service.last("failure")["cause"] == FailureCause.OUT_OF_MEMORY
    assert service.last("failure")["token"] == 1


def test_a_worker_tells_which_study_it_has_at_hand(
    service: SmallService, photos: Path, tmp_path: Path
) -> None:
    work = tiny.job(tiny.define(photos))
    service.offer(work)
    with working(new_agent(service, tmp_path)):
        wait(lambda: "result" in service.kinds())
        count = len(service.asks)
        wait(lambda: len(service.asks) > count + 1)
    assert service.asks[0]["cached"] == []
    assert service.asks[-1]["cached"] == [work.study_id]


def test_a_study_that_names_other_folders_fails_at_once_with_a_sentence(
    service: SmallService, photos: Path, tmp_path: Path
) -> None:
    service.offer(tiny.job(tiny.define(photos)))
    allowed = Allowance.only(data=[tmp_path])
    with working(new_agent(service, tmp_path, allowed=allowed)):
        wait(lambda: "failure" in service.kinds())
    failure = service.last("failure")
    assert failure["cause"] == FailureCause.DATA
    assert "--allow-data" in failure["message"]
    assert "\n" not in failure["message"]


def test_a_study_that_names_other_weights_fails_as_its_definition(
    service: SmallService, photos: Path, tmp_path: Path
) -> None:
    content = {"loss": "content", "parameters": {"weights": "/etc/passwd"}}
    service.offer(tiny.job(tiny.define(photos, losses=[{"loss": "l1"}, content])))
    allowed = Allowance.only(data=[photos])
    with working(new_agent(service, tmp_path, allowed=allowed)):
        wait(lambda: "failure" in service.kinds())
    failure = service.last("failure")
    assert failure["cause"] == FailureCause.DEFINITION
    assert "--allow-weights" in failure["message"]


def test_a_stopped_worker_does_not_wait_for_ever_for_a_silent_service(
    service: SmallService, photos: Path, tmp_path: Path
) -> None:
    service.offer(tiny.job(long(photos)))
    with working(new_agent(service, tmp_path, grace=0.3)) as agent:
        wait(lambda: service.beats)
        service.away = True
        agent.stop()
        started = time.monotonic()
    assert time.monotonic() - started < 10


def test_a_worker_process_without_a_service_ends_in_good_order_on_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service.cli.main", "worker", "--folder", str(tmp_path)]
    command += ["--server", "http://127.0.0.1:9", "--device", "cpu"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        assert any("trying again" in line for line in worker.stderr)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(15) == 0
