"""What must be true after each request, kept in plain dicts: studies, workers, and what they may do.

An implementation of the promises that shares no code with the service. `holding` adds what
workers do. Where the service may choose (which study, which point), the choice is read from its
answer and judged; everything else is foreseen and compared.
"""

from __future__ import annotations

from typing import Any

from tests.model.replica import Answer, Call
from tests.model.rows import TRIAL_ENDS, Row, Rows

STUDY_ENDS = {"finished", "stopped", "failed"}
OFFERED = {"active", "confirming"}
HOUR = 3600.0


class Broken(AssertionError):
    """The service did what the model does not allow."""


def expect(true: object, sentence: str) -> None:
    if not true:
        raise Broken(sentence)


class Book:
    """The state of the world as the answers so far make it."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.studies: dict[str, Row] = {}
        self.trials: dict[str, Row] = {}
        self.attempts: dict[str, Row] = {}
        self.reports: dict[tuple[str, int], Row] = {}
        self.workers: dict[str, Row] = {}
        self.keys: dict[str, tuple[Any, Any]] = {}
        self.quotas: dict[str, int | None] = {}

    # -- studies ---------------------------------------------------------------------------------

    def submit(self, call: Call, answer: Answer) -> None:
        """A new study with its start job; a repeat of its key gets the first answer."""
        key = call.headers.get("idempotency-key")
        if key in self.keys:
            body, first = self.keys[key]
            if body != call.body:
                expect((answer.status, answer.error) == (409, "KeyReused"), f"{answer} to a reuse")
            else:
                expect((answer.status, answer.json) == (201, first), f"{answer} is not the first")
            return
        expect(answer.status == 201, f"{answer} to a new study")
        assert call.body is not None
        study = {"id": answer.json["id"], "definition": call.body, "state": "active"}
        expect(study["id"] not in self.studies, f"{study['id']} was given twice")
        study |= {"seeded": False, "calibrated": False, "started": None}
        study["name"], study["owner"] = call.body["name"], answer.json["owner"]
        self.studies[study["id"]] = study
        self._enqueue(study, "start", "start")
        if key is not None:
            self.keys[key] = (call.body, answer.json)

    def steer(self, call: Call, answer: Answer, after: Rows) -> None:
        """Pause, resume, stop or delete the study that a path names."""
        study = self.studies.get(call.path.split("/")[4])
        if study is None:
            return expect(answer.status == 404, f"{answer} for a study that is gone")
        state, act = study["state"], call.act
        if act == "delete":
            expect(answer.status == 204, f"{answer} to a deletion")
            return self._forget(study)
        legal = {
            "pause": {"draft"} ^ {"draft", "active", "confirming", "paused"},
            "resume": {"active", "confirming", "paused"},
            "stop": {"active", "confirming", "paused", "stopped"},
        }[act]
        if state not in legal:
            return expect((answer.status, answer.error) == (409, "IllegalMove"), f"{answer}")
        expect(answer.status == 200, f"{answer} to {act} of a study that is {state}")
        if act == "pause":
            study["state"] = "paused"
        elif act == "stop" and state != "stopped":
            study["state"] = "stopped"
            self._cancel(study)
        elif act == "resume" and state == "paused":
            confirms = any(t["kind"] == "confirm" for t in self.trials_of(study))
            study["state"] = "confirming" if confirms else "active"
            self.advance(study, after)
        expect(answer.json["state"] == study["state"], f"{answer} after {act}")
        return None

    def enqueue(self, call: Call, answer: Answer) -> None:
        """A person's own point: counts against the budget, refused once the search is over."""
        study = self.studies.get(call.path.split("/")[4])
        if study is None:
            return expect(answer.status == 404, f"{answer} for a study that is gone")
        full = self._searched(study) >= study["definition"]["budget"]["trials"]
        closed = study["state"] in STUDY_ENDS or study["state"] == "confirming"
        if closed or full or not study["calibrated"]:
            return expect((answer.status, answer.error) == (409, "IllegalMove"), f"{answer}")
        expect(answer.status == 201, f"{answer} to a point of one's own")
        trial = self._enqueue(study, "search", "user")
        expect(answer.json["uid"] == trial["uid"], f"{answer} is not {trial['uid']}")
        return None

    def advance(self, study: Row, after: Rows) -> None:
        """What follows an end by itself: recipes, confirmation, the study's end."""
        if study["state"] in STUDY_ENDS:
            return
        if not study["calibrated"]:
            self._give_up(study)
            return
        budget = study["definition"]["budget"]["trials"]
        if not study["seeded"]:
            study["seeded"] = True
            for recipe in study["definition"]["search"]["recipes"][:budget]:
                self._enqueue(
                    study, "search", {"pixel": "baseline"}.get(recipe, f"recipe:{recipe}")
                )
        if study["state"] == "active":
            self._end_search(study, budget, after)
        elif study["state"] == "confirming":
            if self.late(study):
                self._cancel(study)
            if not self.unfinished(study):
                study["state"] = "finished"

    def proposed(self, after: Rows) -> None:
        """The proposer ran: new points within the budget of studies that search, and no others."""
        for uid, row in sorted(after.trial.items(), key=lambda item: item[1]["number"]):
            study = self.studies.get(row["study_id"])
            if uid in self.trials or study is None:
                continue
            expect(row["origin"] == "sampler", f"{uid} of {row['origin']} came from the proposer")
            expect(
                study["state"] == "active" and study["seeded"], f"{uid} of a study not searching"
            )
            expect(not self.late(study), f"{uid} was proposed when the time was over")
            self._enqueue(study, "search", "sampler")
        for study in self.studies.values():
            searches = study["state"] == "active" and study["seeded"] and not self.late(study)
            if searches and self._searched(study) < study["definition"]["budget"]["trials"]:
                waits = [t for t in self.trials_of(study) if t["state"] == "queued"]
                expect(waits, f"study {study['id']} has budget left and nothing waits")

    # -- workers and time ------------------------------------------------------------------------

    def register(self, call: Call, answer: Answer) -> None:
        """The same name gets the same id; whoever starts again gets work again."""
        expect(answer.status == 200, f"{answer} to a registration")
        assert call.body is not None
        known = {worker["name"]: key for key, worker in self.workers.items()}
        key = answer.json["id"]
        expect(known.get(call.body["name"], key) == key, f"{call.body['name']} got another id")
        memory = max(device["memory"] for device in call.body["devices"])
        self.workers[key] = {
            "name": call.body["name"], "labels": call.body["labels"], "memory": memory,
            "slots": call.body["slots"], "state": "active", "failures": 0, "heard": self.clock,
        }  # fmt: skip

    def drain(self, call: Call, answer: Answer) -> None:
        worker = self.workers.get(call.path.split("/")[4])
        if worker is None:
            return expect(answer.status == 404, f"{answer} for a worker that is unknown")
        expect(answer.status == 200, f"{answer} to a drain")
        worker["state"] = "draining"
        return None

    def hear(self, worker_id: str) -> None:
        worker = self.workers[worker_id]
        worker["heard"] = self.clock
        if worker["state"] == "gone":
            worker["state"] = "active"

    def late(self, study: Row) -> bool:
        """Whether a budget of time is used up."""
        budget = study["definition"]["budget"]
        wall, devices = budget.get("wall_hours"), budget.get("gpu_hours")
        if wall and study["started"] is not None and self.clock - study["started"] >= wall * HOUR:
            return True
        mine = [a for a in self.attempts.values() if a["study"] == study["id"]]
        used = sum((self.clock if a["ended"] is None else a["ended"]) - a["started"] for a in mine)
        return bool(devices) and used >= devices * HOUR

    # -- what others need ------------------------------------------------------------------------

    def trials_of(self, study: Row) -> list[Row]:
        return [trial for trial in self.trials.values() if trial["study"] == study["id"]]

    def running(self, studies: list[Row]) -> int:
        ids = {study["id"] for study in studies}
        return sum(t["study"] in ids and t["state"] == "leased" for t in self.trials.values())

    def unfinished(self, study: Row) -> int:
        return sum(trial["state"] not in TRIAL_ENDS for trial in self.trials_of(study))

    def end(self, trial: Row, state: str, outcome: str, cause: str | None = None) -> None:
        """A trial leaves its worker; `state` is where it goes."""
        attempt = self.attempts[trial["lease"]]
        attempt |= {"outcome": outcome, "cause": cause, "ended": self.clock}
        trial["state"] = state
        if state == "queued":
            trial["lease"] = None

    def _give_up(self, study: Row) -> None:
        """Without a start there is no study."""
        start = next(t for t in self.trials_of(study) if t["kind"] == "start")
        if self.late(study):
            self._cancel(study)
            study["state"] = "failed"
        elif start["state"] == "failed":
            study["state"] = "failed"

    def _end_search(self, study: Row, budget: int, after: Rows) -> None:
        late = self.late(study)
        if late:
            self._cancel(study)
        elif self._searched(study) < budget:
            return
        if self.unfinished(study):
            return
        mine = [t for t in self.trials_of(study) if t["kind"] == "search"]
        if not any(t["state"] == "complete" for t in mine):
            study["state"] = "failed"
        elif late or not study["definition"].get("confirm", {}).get("candidates"):
            study["state"] = "finished"
        else:
            study["state"] = "confirming"
            born = [r for r in after.trials_of(study["id"]) if r["uid"] not in self.trials]
            expect(born, f"study {study['id']} confirms nothing")
            for row in sorted(born, key=lambda row: row["number"]):
                self._enqueue(study, "confirm", row["origin"])

    def _searched(self, study: Row) -> int:
        return sum(trial["kind"] == "search" for trial in self.trials_of(study))

    def _enqueue(self, study: Row, kind: str, origin: str) -> Row:
        number = len(self.trials_of(study))
        trial = {
            "uid": f"{study['id']}-{number}", "study": study["id"], "number": number,
            "kind": kind, "origin": origin, "state": "queued", "token": 0, "counted": 0,
            "lease": None, "ready": 0.0, "expires": None, "resume": None, "metrics": {},
            "step": 0,
        }  # fmt: skip
        self.trials[trial["uid"]] = trial
        return trial

    def _cancel(self, study: Row) -> None:
        for trial in self.trials_of(study):
            if trial["state"] == "leased":
                self.end(trial, "cancelled", "cancelled")
            elif trial["state"] == "queued":
                trial["state"] = "cancelled"

    def _forget(self, study: Row) -> None:
        gone = {trial["uid"] for trial in self.trials_of(study)}
        del self.studies[study["id"]]
        self.trials = {k: v for k, v in self.trials.items() if k not in gone}
        self.attempts = {k: v for k, v in self.attempts.items() if v["trial"] not in gone}
        self.reports = {k: v for k, v in self.reports.items() if k[0] not in gone}
