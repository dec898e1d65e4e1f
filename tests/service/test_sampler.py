"""The sampler thinks in a process of its own, and what it thinks does not depend on where."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from service.contract.errors import InvalidRequest
from service.contract.study import Data, Model, Search, StudyDefinition, Term
from service.contract.trial import Calibration
from service.contract.vocabulary import Vocabulary
from service.sampler import MindLost, SamplerProcess
from service.tuner import Observation
from service.tuner.mind import Mind

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
NORMS = {"l1": 2.0, "content": 40.0, "edge": 0.5}
CALIBRATION = Calibration(norms=NORMS, values=NORMS, batches=8)
DEFINITION = StudyDefinition(
    name="s",
    data=Data(train=["a"], validation=["b"]),
    model=Model(name="espcn"),
    losses=[Term(loss="l1"), Term(loss="content"), Term(loss="edge", optional=True)],
    search=Search(startup=2),
    objectives=["psnr_y", "mdsi"],
)


@pytest.fixture
def sampler() -> Iterator[SamplerProcess]:
    process = SamplerProcess()
    yield process
    process.close()


def _told() -> list[Observation]:
    return [
        Observation(
            number,
            {"rest.l1": number / 10, "rest.content": 0.5, "use.edge": "on"},
            "complete",
            [number % 5, number % 3],
            clock=number,
        )
        for number in range(1, 9)
    ]


def test_it_proposes_what_a_mind_in_this_process_does(
    sampler: SamplerProcess, vocabulary: Vocabulary
) -> None:
    found = []
    for thinker in (sampler, Mind()):
        thinker.meet("one", DEFINITION, vocabulary, CALIBRATION)
        thinker.tell("one", _told())
        found.append([thinker.propose("one", numbers, 6) for numbers in ([9], [10, 11, 12])])
    assert found[0] == found[1]
    assert sampler.pid not in (None, os.getpid())


def test_what_it_cannot_do_is_raised_here(sampler: SamplerProcess, vocabulary: Vocabulary) -> None:
    useless = CALIBRATION.model_copy(update={"norms": {"l1": 2.0}})
    with pytest.raises(InvalidRequest, match="no gradient norm of content"):
        sampler.meet("one", DEFINITION, vocabulary, useless)
    sampler.meet("one", DEFINITION, vocabulary, CALIBRATION)
    with pytest.raises(ValueError, match="only complete ones have values"):
        sampler.tell("one", [Observation(1, None, "complete")])
    assert len(sampler.propose("one", [1], 0)) == 1


def test_one_that_dies_is_missed_once_and_starts_again(
    sampler: SamplerProcess, vocabulary: Vocabulary
) -> None:
    sampler.meet("one", DEFINITION, vocabulary, CALIBRATION)
    before = sampler.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    with pytest.raises(MindLost):
        sampler.propose("one", [1], 0)
    sampler.meet("one", DEFINITION, vocabulary, CALIBRATION)
    assert len(sampler.propose("one", [1], 0)) == 1
    assert sampler.pid != before


def test_it_does_not_outlive_its_service() -> None:
    script = (
        "import sys; from service.sampler import SamplerProcess; process = SamplerProcess(); "
        "process.begin(); print(process.pid, flush=True); sys.stdin.read()"
    )
    service = subprocess.Popen(
        [sys.executable, "-c", script],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with service:
        assert service.stdout is not None
        child = psutil.Process(int(service.stdout.readline()))
        service.kill()
    psutil.wait_procs([child], timeout=20)
    assert not child.is_running()


def test_after_its_end_it_takes_nothing_more(
    sampler: SamplerProcess, vocabulary: Vocabulary
) -> None:
    sampler.meet("one", DEFINITION, vocabulary, CALIBRATION)
    child = psutil.Process(sampler.pid)
    sampler.close()
    assert not child.is_running()
    for _ in range(2):
        with pytest.raises(MindLost):
            sampler.propose("one", [1], 0)


def test_the_service_starts_without_optuna_and_torch() -> None:
    script = "import sys, service.app; print({'optuna', 'torch'} & sys.modules.keys())"
    run = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set()"
