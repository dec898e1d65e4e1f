"""A worker from lease to last word, with real trainings and a small service in memory."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load as from_safetensors

from service.contract.errors import Unauthorized
from service.contract.study import StudyDefinition
from service.contract.trial import Action, FailureCause, TrialKind
from tests.workers import tiny_training as tiny
from tests.workers.agents import long, new_agent, wait, working
from tests.workers.small_service import SmallService
from workers.device import DeviceUnavailable, choose
from workers.tracking import folder

ENDINGS = {"result", "failure", "release"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def definition(photos: Path) -> StudyDefinition:
    return tiny.define(photos)


@pytest.fixture
def service() -> SmallService:
    return SmallService()


def results(service: SmallService, count: int) -> bool:
    return service.kinds().count("result") == count


def test_start_job_gives_calibration_start_and_scores(
    service: SmallService, definition: StudyDefinition, tmp_path: Path
) -> None:
    service.offer(tiny.job(definition, TrialKind.START))
    with working(new_agent(service, tmp_path)):
        wait(lambda: "result" in service.kinds())
    result = service.last("result")
    assert result["calibration"]["norms"].keys() == {"l1", "content", "adversarial", "edge"}
    assert all(norm > 0 for norm in result["calibration"]["norms"].values())
    assert result["start"]["sha256"] in service.blobs
    assert {"psnr_y", "hf_energy_error", "ssim_y"} <= result["metrics"].keys()
    assert result["step"] == 8
    # Alone with its step: resume points of the warm-up, and the scores at its end.
    assert [body["step"] for kind, body in service.told if kind == "reports"] == [1, 2, 3, 4, 5]


def test_trial_is_reported_at_its_rung_and_ends_with_scores_and_weights(
    service: SmallService, definition: StudyDefinition, tmp_path: Path
) -> None:
    service.offer(tiny.job(definition))
    with working(new_agent(service, tmp_path)):
        wait(lambda: "result" in service.kinds())
    report, result = service.last("reports"), service.last("result")
    assert (report["step"], result["step"]) == (4, 8)
    assert {"psnr_y", "hf_energy_error"} <= report["metrics"].keys()
    assert report["checkpoint"]["step"] == 4
    weights = from_safetensors(service.blobs[result["weights_blob"]["sha256"]])
    assert all(isinstance(tensor, torch.Tensor) for tensor in weights.values())
    assert result["train_seconds"] > 0
    assert not list((tmp_path / "trials").iterdir())  # nothing is left behind


def test_side_by_side_trials_have_the_results_they_have_alone(
    service: SmallService, definition: StudyDefinition, tmp_path: Path
) -> None:
    works = [tiny.job(definition, uid=f"u{n}", weights={"l1": 1.0, "edge": n}) for n in (1, 2)]
    for slots in (1, 2):
        for work in works:
            service.offer(work)
        wanted = slots * len(works)
        with working(new_agent(service, tmp_path / str(slots), slots)):
            wait(partial(results, service, wanted))
    found = [body["metrics"] for kind, body in service.told if kind == "result"]
    assert found[:2] == found[2:]
    assert found[0] != found[1]


def test_stopped_worker_gives_its_trial_back_and_another_ends_it_as_if_alone(
    service: SmallService, photos: Path, tmp_path: Path
) -> None:
    short = tiny.define(photos, training={"steps": 60, "rungs": [0.1]})
    work = tiny.job(short)
    service.offer(work)
    with working(new_agent(service, tmp_path / "alone")):
        wait(lambda: "result" in service.kinds())
    service.offer(work)
    with working(new_agent(service, tmp_path / "one")):
        wait(lambda: service.kinds().count("reports") == 2)
    assert service.kinds()[-1] == "release"
    point = service.resume_of("release")
    assert 6 <= point.step < 60
    service.offer(tiny.resumed(work, point.blob, point.step))
    with working(new_agent(service, tmp_path / "two")):
        wait(lambda: service.kinds().count("result") == 2)
    whole, pieced = (body for kind, body in service.told if kind == "result")
    assert whole["weights_blob"] == pieced["weights_blob"]
    assert whole["metrics"] == pieced["metrics"]


def test_training_goes_on_while_the_service_is_away_and_no_result_is_lost(
    service: SmallService, definition: StudyDefinition, tmp_path: Path
) -> None:
    service.offer(tiny.job(definition))
    with working(new_agent(service, tmp_path)) as agent:
        wait(lambda: service.leases)
        service.away = True
        wait(lambda: agent.sessions and agent.sessions[0].waiting)  # trained to the end
        assert "result" not in service.kinds()
        service.away = False
        wait(lambda: "result" in service.kinds())
    assert service.kinds() == ["register", "reports", "result"]


def test_worker_waits_for_a_service_that_is_not_up_yet(
    service: SmallService, definition: StudyDefinition, tmp_path: Path
) -> None:
    service.away = True
    with working(new_agent(service, tmp_path)):
        time.sleep(0.3)
        service.away = False
        wait(service.asked.is_set)


@pytest.mark.parametrize(("where", "action"), [("reports", "prune"), ("heartbeat", "stop")])
def test_verdict_ends_the_training_without_another_word(
    service: SmallService, photos: Path, tmp_path: Path, where: str, action: str
) -> None:
    service.verdicts[where] = Action(action)
    service.offer(tiny.job(long(photos)))
    with working(new_agent(service, tmp_path)) as agent:
        wait(lambda: service.leases)
        wait(lambda: not agent.sessions)
    assert not ENDINGS & set(service.kinds())


def test_lost_lease_ends_the_training_without_a_word(
    service: SmallService, photos: Path, tmp_path: Path
) -> None:
    service.offer(tiny.job(long(photos)))
    with working(new_agent(service, tmp_path)) as agent:
        wait(lambda: service.beats)
        service.lost.add("l1")
        told = list(service.told)
        wait(lambda: not agent.sessions)
        service.offer(tiny.job(tiny.define(photos), uid="u2"))
        wait(lambda: "result" in service.kinds())  # and the worker goes on with the next
    assert [kind for kind, body in service.told[len(told) :] if body["token"] == 1] == []


@pytest.mark.parametrize(
    ("change", "cause", "sentence"),
    [
        ({"model": {"name": "espcm"}}, FailureCause.DEFINITION, "espcn"),
        ({"losses": [{"loss": "l1", "parameters": {"epsilon": 1}}]}, FailureCause.DEFINITION, "l1"),
        ({"training": {"optimizer": {"lr": 3e38}}}, FailureCause.DIVERGED, "step"),
        ("missing", FailureCause.DATA, "does not exist"),
        ("patch", FailureCause.DATA, "smaller than data.patch 64"),
    ],
)
def test_failure_has_its_cause_and_one_sentence_and_the_next_trial_is_trained(
    service: SmallService,
    photos: Path,
    tmp_path: Path,
    change: dict[str, object] | str,
    cause: FailureCause,
    sentence: str,
) -> None:
    good = tiny.define(photos)
    if isinstance(change, dict):
        bad = tiny.define(photos, **change)
    else:
        update = {"train": ["/no/such/folder"]} if change == "missing" else {"patch": 64}
        bad = good.model_copy(update={"data": good.data.model_copy(update=update)})
    service.offer(tiny.job(bad, weights={"l1": 1.0}))
    service.offer(tiny.job(good, uid="u2", weights={"l1": 1.0}))
    with working(new_agent(service, tmp_path)):
        wait(lambda: "result" in service.kinds())
    failure = service.last("failure")
    assert failure["cause"] == cause
    assert sentence in failure["message"]
    assert "\n" not in failure["message"]


def committed(spool: Path) -> list[dict[str, Any]]:
    """The records of a spool that may be shown."""
    journal, offset = (spool / "journal").read_bytes(), folder.committed(spool)
    return [json.loads(line) for line in journal[:offset].splitlines()]


def test_curves_and_pictures_of_a_complete_trial_may_be_shown(
    definition: StudyDefinition, tmp_path: Path
) -> None:
    service = SmallService(tracking_uri="/mlflow")
    service.offer(tiny.job(definition))
    with working(new_agent(service, tmp_path)):
        wait(lambda: "result" in service.kinds())
    records = committed(tmp_path / "spool" / "u1-1")
    steps = {record["step"] for record in records if "metrics" in record}
    assert steps == {3, 4, 6, 8}
    images = {(record["image"], record["step"]) for record in records if "image" in record}
    assert images == {(f"sample/0/{kind}", step) for kind in ("tile", "sr") for step in (4, 8)}
    files = [record["file"] for record in records if "file" in record]
    assert files == [
        "scores/step-0000004.csv",
        "checkpoints/last.pt",
        "scores/step-0000008.csv",
        "weights.safetensors",
    ]


def test_points_after_the_last_accepted_report_of_a_lost_lease_are_never_shown(
    photos: Path, tmp_path: Path
) -> None:
    service = SmallService(tracking_uri="/mlflow")
    service.offer(tiny.job(long(photos)))
    with working(new_agent(service, tmp_path)) as agent:
        wait(lambda: any(beat["step"] > 30 for beat in service.beats))
        service.lost.add("l1")
        wait(lambda: not agent.sessions)
    records = committed(tmp_path / "spool" / "u1-1")
    assert max(record["step"] for record in records if "metrics" in record) == 20  # the rung


def test_full_disk_of_the_service_fails_the_attempt_as_storage(
    service: SmallService, definition: StudyDefinition, tmp_path: Path
) -> None:
    service.refuse["blobs"] = (507, "StorageFull")
    service.offer(tiny.job(definition))
    with working(new_agent(service, tmp_path)):
        wait(lambda: "failure" in service.kinds())
    assert service.last("failure")["cause"] == FailureCause.STORAGE


def test_worker_without_a_right_to_work_ends_with_the_error(
    service: SmallService, tmp_path: Path
) -> None:
    service.refuse["register"] = (401, "Unauthorized")
    with pytest.raises(Unauthorized):
        new_agent(service, tmp_path).run()


def test_device_that_is_not_there_is_an_error_that_lists_those_that_are() -> None:
    with pytest.raises(DeviceUnavailable, match=r"cuda:99 is not on this machine; here are cpu"):
        choose("cuda:99")
    with pytest.raises(DeviceUnavailable, match="use auto, cpu or cuda:N"):
        choose("gpu")
