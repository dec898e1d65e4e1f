"""I8, MLflow's half: what was written to the lab book is what the rows say, once per trial."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx2
from sqlalchemy import select

from service.db import Database
from service.models import Study, Trial
from tests.chaos.checker import Violation
from tests.chaos.tables import Tables

_ROUNDING = 1e-3


class LabBookReader:
    """Reads MLflow at its own address."""

    def __init__(self, url: str) -> None:
        self._http = httpx2.Client(base_url=f"{url}/api/2.0/mlflow", timeout=60)

    def close(self) -> None:
        self._http.close()

    def runs(self, experiment: str) -> list[dict[str, Any]]:
        """Every run that was not deleted."""
        found: list[dict[str, Any]] = []
        body: dict[str, Any] = {"experiment_ids": [experiment], "max_results": 1000}
        while True:
            answer = self._http.post("/runs/search", json=body)
            answer.raise_for_status()
            page = answer.json()
            found += page.get("runs", [])
            if not page.get("next_page_token"):
                return found
            body["page_token"] = page["next_page_token"]


def caught_up(database: Database) -> bool:
    """Whether every row was written to the lab book."""
    with database.reading() as session:
        studies = session.scalar(
            select(Study.id).where(Study.told_revision != Study.revision).limit(1)
        )
        trials = session.scalar(
            select(Trial.uid).where(Trial.token > 0, Trial.told_revision != Trial.revision).limit(1)
        )
    return studies is None and trials is None


def page_violations(tables: Tables, url: str, *, patience: float) -> list[Violation]:
    """Where pages disagree with rows that were marked as written; none while MLflow is away."""
    reader = LabBookReader(url)
    try:
        return [Violation("I8", sentence) for sentence in _pages(tables, reader, patience)]
    finally:
        reader.close()


def _pages(tables: Tables, reader: LabBookReader, patience: float) -> Iterator[str]:
    for study in tables.studies:
        if study["experiment_id"] is None:
            continue
        runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for run in _patiently(partial(reader.runs, study["experiment_id"]), patience):
            tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}
            if "srt.trial_uid" in tags:
                runs[tags["srt.trial_uid"]].append({**run["data"], "tags": tags})
        for trial in tables.trials:
            if trial["study_id"] == study["id"] and trial["told_revision"] == trial["revision"]:
                yield from _page(trial, runs[trial["uid"]])


def _page(trial: dict[str, Any], runs: list[dict[str, Any]]) -> Iterator[str]:
    expected = 1 if trial["token"] > 0 else 0
    if len(runs) != expected:
        yield f"trial {trial['uid']} has {len(runs)} runs in MLflow"
        return
    for run in runs:
        if run["tags"]["srt.state"] != trial["state"].upper():
            yield f"trial {trial['uid']} is {trial['state']}, its page says {run['tags']['srt.state']}"
        metrics = {metric["key"]: metric["value"] for metric in run.get("metrics", [])}
        for name, value in trial["metrics"].items():
            shown = metrics.get(f"result/{name}")
            if shown is None or abs(shown - value) > _ROUNDING:
                yield f"trial {trial['uid']}: {name} is {value}, its page says {shown}"


def _patiently(ask: Callable[[], list[dict[str, Any]]], seconds: float) -> list[dict[str, Any]]:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except httpx2.HTTPError:
            if time.monotonic() > deadline:
                return []
            time.sleep(0.5)
