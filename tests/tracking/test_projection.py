"""Our rows in MLflow's pages: complete, and the same however often it was interrupted."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, update

from service.contract.errors import Unavailable
from service.contract.trial import StudyState, TrialKind, TrialState
from service.contract.vocabulary import Vocabulary
from service.db import Database
from service.models import Study, Trial
from service.tracking.labbook import LabBook
from service.tracking.projection import Projection
from service.tracking.server import MlflowServer
from service.tracking.unix import UnixTransport

DEFINITION: dict[str, Any] = {
    "name": "photos-x2",
    "data": {"train": ["/photos"], "validation": ["/held-out"]},
    "model": {"name": "espcn"},
    "losses": [{"loss": "l1"}],
}


class LosesAnswers(UnixTransport):
    """A connection that breaks after MLflow has done what request number `nth` asked."""

    def __init__(self, path: str, nth: int) -> None:
        super().__init__(path)
        self.left = nth

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = super().handle_request(request)
        self.left -= 1
        if self.left == 0:
            answer.close()
            raise httpx2.ReadError("the answer was lost", request=request)
        return answer


@pytest.fixture
def projection(database: Database, book: LabBook, vocabulary: Vocabulary) -> Projection:
    return Projection(database, book, vocabulary, "http://here")


def pages(mlflow: MlflowServer, study: Study) -> dict[str, Any]:
    """All that MLflow shows of a study, without the ids it chose."""
    transport = UnixTransport(str(mlflow.socket))
    with httpx2.Client(transport=transport, base_url="http://localhost/api/2.0/mlflow/") as raw:
        where = {"filter": f"tags.`srt.study_id` = '{study.id}'", "max_results": 10}
        (experiment,) = raw.post("experiments/search", json=where).json()["experiments"]
        body = {"experiment_ids": [experiment["experiment_id"]]}
        runs = raw.post("runs/search", json=body).json()["runs"]
        files = {
            run["info"]["run_name"]: raw.get(
                "artifacts/list", params={"run_id": run["info"]["run_id"]}
            ).json()
            for run in runs
        }
    shown = {}
    for run in runs:
        data = {
            kind: {pair["key"]: pair["value"] for pair in run["data"].get(kind, [])}
            for kind in ("metrics", "params", "tags")
        }
        info = {key: run["info"].get(key) for key in ("status", "start_time", "end_time")}
        name = run["info"]["run_name"]
        assert name not in shown, "a trial has two runs"
        paths = [file["path"] for file in files[name].get("files", [])]
        shown[name] = {"info": info, "files": paths} | data
    tags = {t["key"]: t["value"] for t in experiment["tags"]}
    tags["mlflow.note.content"] = tags["mlflow.note.content"].replace(
        f"experiments/{experiment['experiment_id']}/", "experiments/E/"
    )
    return {"name": experiment["name"], "tags": tags, "runs": shown}


def end(database: Database, study: Study) -> None:
    with database.writing() as session:
        session.execute(
            update(Study)
            .where(Study.id == study.id)
            .values(state=StudyState.FINISHED, finished=1200.0, revision=Study.revision + 1)
        )
    study.state, study.finished = StudyState.FINISHED, 1200.0


def test_every_state_shows(mlflow: MlflowServer, projection: Projection, study: Study) -> None:
    projection.mirror()
    runs = pages(mlflow, study)["runs"]
    weights = "l1=1.13 content=0.0061"
    status = {name: (run["info"]["status"], run["tags"]["srt.state"]) for name, run in runs.items()}
    assert status == {
        "t000 start": ("FINISHED", "COMPLETE"),
        f"t001 {weights}": ("FINISHED", "COMPLETE"),
        f"t002 {weights}": ("FINISHED", "PRUNED"),
        f"t003 {weights}": ("RUNNING", "LEASED"),
        f"t004 {weights}": ("FAILED", "FAILED"),
    }
    complete = runs[f"t001 {weights}"]
    assert complete["params"]["w.content"] == "0.0061"
    assert complete["params"]["w.content.log10"] == "-2.2147"
    assert complete["params"]["s.l1"] == "0.7500"
    assert complete["metrics"]["result/psnr_y"] == 27.1429
    assert complete["metrics"]["result/hf_energy_error"] == 0.06173
    assert complete["info"]["start_time"] == 1051_000
    assert complete["info"]["end_time"] == 1101_000
    assert "dominated" in runs[f"t002 {weights}"]["tags"]["srt.reason"]


def test_rows_know_their_pages(database: Database, projection: Projection, study: Study) -> None:
    projection.mirror()
    with database.reading() as session:
        trials = session.scalars(select(Trial).order_by(Trial.number)).all()
        stored = session.scalars(select(Study)).one()
    assert [t.run_id is not None for t in trials] == [True] * 5 + [False]
    assert [t.told_revision for t in trials] == [t.revision for t in trials]
    assert stored.experiment_id is not None
    assert stored.told_revision == stored.revision
    assert projection.mirror() == 0


def test_a_change_during_writing_is_written_next_time(
    database: Database, projection: Projection, study: Study
) -> None:
    projection.mirror()
    with database.writing() as session:
        uid = f"{study.id}-3"
        session.execute(update(Trial).where(Trial.uid == uid).values(revision=8, attempts=2))
        session.execute(update(Study).values(revision=8))
    assert projection.mirror() == 2


def test_a_retried_trial_runs_again(
    mlflow: MlflowServer, database: Database, projection: Projection, study: Study
) -> None:
    projection.mirror()
    with database.writing() as session:
        uid = f"{study.id}-4"
        changed = {"revision": 9, "state": TrialState.QUEUED, "finished": None}
        session.execute(update(Trial).where(Trial.uid == uid).values(**changed))
        session.execute(update(Study).values(revision=9))
    projection.mirror()
    run = pages(mlflow, study)["runs"]["t004 l1=1.13 content=0.0061"]
    assert run["info"]["status"] == "RUNNING"


def test_a_diverged_trial_is_a_finding_and_no_error(
    mlflow: MlflowServer, database: Database, projection: Projection, study: Study
) -> None:
    with database.writing() as session:
        said = {"state": TrialState.DIVERGED, "reason": "loss l1 is nan at step 40"}
        session.execute(update(Trial).where(Trial.number == 4).values(**said))
    projection.mirror()
    run = pages(mlflow, study)["runs"]["t004 l1=1.13 content=0.0061"]
    assert run["info"]["status"] == "FINISHED"
    assert run["tags"]["srt.state"] == "DIVERGED"
    assert "nan" in run["tags"]["srt.reason"]


def test_many_trials_are_told_in_parts_and_the_end_comes_last(
    mlflow: MlflowServer,
    database: Database,
    book: LabBook,
    vocabulary: Vocabulary,
    study: Study,
) -> None:
    end(database, study)
    projection = Projection(database, book, vocabulary, "http://here", at_once=4)
    assert projection.mirror() == 4
    assert "study outcome" not in pages(mlflow, study)["runs"]
    assert projection.mirror() == 3
    assert len(pages(mlflow, study)["runs"]) == 6
    assert projection.mirror() == 0


def test_an_ended_study_leaves_its_outcome(
    mlflow: MlflowServer, database: Database, projection: Projection, study: Study
) -> None:
    end(database, study)
    projection.mirror()
    outcome = pages(mlflow, study)["runs"]["study outcome"]
    assert outcome["tags"]["srt.kind"] == "study"
    assert outcome["files"] == ["front.json", "weights.json"]


@pytest.mark.slow
def test_lost_answers_change_nothing(
    mlflow: MlflowServer, database: Database, vocabulary: Vocabulary
) -> None:
    """For every request of a pass: a study whose pages were begun over after that one's answer."""
    seen: list[str] = []
    for nth in itertools.count(1):
        row = ended_study(database, f"lost{nth}")
        broken = LabBook(LosesAnswers(str(mlflow.socket), nth))
        whole = LabBook.at_socket(str(mlflow.socket))
        try:
            Projection(database, broken, vocabulary, "http://here").mirror()
        except Unavailable:
            Projection(database, whole, vocabulary, "http://here").mirror()
            seen.append(json.dumps(pages(mlflow, row), sort_keys=True).replace(row.id, "ID"))
            assert seen[-1] == seen[0]
        else:
            break
        finally:
            broken.close()
            whole.close()
    assert len(seen) > 18


def ended_study(database: Database, study_id: str) -> Study:
    """A stored study that ended after one trial."""
    row = Study(
        id=study_id,
        name="photos-x2",
        definition=DEFINITION,
        state=StudyState.FINISHED,
        created=1000.0,
        started=1001.0,
        finished=1200.0,
        revision=1,
        told_revision=-1,
    )
    only = Trial(
        uid=f"{study_id}-u",
        study_id=study_id,
        number=1,
        kind=TrialKind.SEARCH,
        origin="sampler",
        state=TrialState.COMPLETE,
        seed=0,
        shares={"l1": 1.0},
        weights={"l1": 1.0},
        metrics={"psnr_y": 27.5, "hf_energy_error": 0.25},
        created=1000.0,
        finished=1100.0,
        token=1,
        revision=1,
        told_revision=-1,
    )
    with database.writing() as session:
        session.add(row)
        session.flush()
        session.add(only)
    return row


def test_an_emptied_mlflow_is_filled_again(
    mlflow: MlflowServer, database: Database, projection: Projection, study: Study
) -> None:
    projection.mirror()
    before = pages(mlflow, study)
    with database.writing() as session:
        session.execute(update(Trial).values(run_id="0" * 32))
        session.execute(update(Trial).values(revision=20))
        session.execute(update(Study).values(revision=20))
    projection.mirror()
    projection.mirror()
    assert json.dumps(pages(mlflow, study)) == json.dumps(before)
