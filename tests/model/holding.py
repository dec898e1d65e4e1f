"""What must be true of leases and of everything a worker says about one."""

from __future__ import annotations

from typing import Any

from tests.model.book import OFFERED, Book, expect
from tests.model.replica import Answer, Call
from tests.model.rows import Row, Rows
from tests.model.scene import LEASE_SECONDS, MAX_ATTEMPTS, STEPS

#: So many lost workers in a row, not all the same, put a trial aside.
POISON = 3
#: So many failures in a row, on trials others can train, put a worker aside.
SUSPECT = 3
PARTINGS = {"pruned": "prune", "cancelled": "stop"}


class Holding(Book):
    """The book with its pages about workers."""

    def __init__(self) -> None:
        super().__init__()
        self.fits: dict[tuple[str, int], int] = {}

    # -- leases ----------------------------------------------------------------------------------

    def lease(self, call: Call, answer: Answer, after: Rows) -> None:
        """Trials of one study, in the right order, within every limit; nothing only if so."""
        body = call.body or {}
        worker = self.workers.get(body["worker"])
        if worker is None:
            return expect((answer.status, answer.error) == (404, "WorkerNotFound"), f"{answer}")
        given = answer.json if answer.status == 200 else []
        expect(answer.status in (200, 204), f"{answer} to a request for trials")
        self.hear(body["worker"])
        word = body.get("request") and f"{body['worker']}:{body['request']}"
        before = {k: a["token"] for k, a in self.attempts.items() if word and a["word"] == word}
        if before:
            repeated = {lease["id"]: lease["token"] for lease in given}
            return expect(repeated == before, f"the repeat got {repeated}, not {before}")
        room = {key: self._room(study, worker, body) for key, study in self.studies.items()}
        open_to = {key: self._waiting(self.studies[key])[:n] for key, n in room.items() if n > 0}
        best = [self._priority(key) for key, trials in open_to.items() if trials]
        if not given:
            return expect(not best, f"nothing was given, and {open_to} wait")
        study = self.studies.get(given[0]["job"]["study_id"])
        expect(study is not None, f"a lease of the unknown study {given[0]['job']['study_id']}")
        assert study is not None
        expect(room[study["id"]] > 0, f"{study['id']} gave trials beyond its limits")
        expect(self._priority(study["id"]) == max(best), f"{study['id']} went before a higher one")
        wanted = [trial["uid"] for trial in open_to[study["id"]]]
        got = [lease["job"]["uid"] for lease in given]
        expect(got == wanted, f"{got} were given, not {wanted}")
        for lease in given:
            self._grant(study, lease, body["worker"], word, after)
        return None

    def _grant(self, study: Row, lease: Any, worker: str, word: str | None, after: Rows) -> None:
        job, trial = lease["job"], self.trials[lease["job"]["uid"]]
        expect(lease["id"] not in self.attempts, f"lease {lease['id']} was given twice")
        expect(lease["token"] == trial["token"] + 1, f"{trial['uid']} got token {lease['token']}")
        resume = job["resume"] and (job["resume"]["blob"]["sha256"], job["resume"]["step"])
        expect(resume == trial["resume"], f"{trial['uid']} resumes {resume}, not {trial['resume']}")
        expect(lease["expires_in"] == LEASE_SECONDS, f"a lease for {lease['expires_in']} s")
        expect((job["start"] is None) == (not study["calibrated"]), f"start: {job['start']}")
        if study["started"] is None:
            study["started"] = self.clock
        trial |= {"state": "leased", "token": trial["token"] + 1, "lease": lease["id"]}
        trial |= {"counted": trial["counted"] + 1, "expires": self.clock + LEASE_SECONDS}
        expect(job["attempt"] == trial["counted"], f"{trial['uid']} is at attempt {job['attempt']}")
        row = after.attempt.get((trial["uid"], trial["token"]))
        self.attempts[lease["id"]] = {
            "trial": trial["uid"], "study": study["id"], "token": trial["token"],
            "worker": worker, "word": word, "started": self.clock, "ended": None,
            "outcome": "running", "cause": None, "resumed_step": (trial["resume"] or ("", 0))[1],
            # Taken from the row: how many it holds is the service's own count, judged by `fits`.
            "together": row["together"] if row else 1,
        }  # fmt: skip

    def _room(self, study: Row, worker: Row, body: Row) -> int:
        """How many trials of a study this worker may get now."""
        wanted = study["definition"]
        suits = wanted.get("labels", {}).items() <= worker["labels"].items()
        if worker["state"] != "active" or study["state"] not in OFFERED or not suits:
            return 0
        if worker["memory"] < wanted.get("memory_gb", 0) * 1e9 or self.late(study):
            return 0
        room = [body["capacity"], self._fitting(study, worker, body)]
        if (limit := wanted.get("max_running")) is not None:
            room.append(limit - self.running([study]))
        if (quota := self.quotas.get(study["owner"])) is not None:
            mine = [s for s in self.studies.values() if s["owner"] == study["owner"]]
            room.append(quota - self.running(mine))
        return max(int(min(room)), 0)

    def _fitting(self, study: Row, worker: Row, body: Row) -> int:
        """What a device has memory for, as far as running out of it has taught."""
        fit = self.fits.get((study["id"], worker["memory"]))
        if fit is None or (worker["slots"], body["capacity"]) == (1, 1):
            return int(body["capacity"])
        live = [a for a in self.attempts.values() if a["ended"] is None]
        held = [a for a in live if a["study"] == study["id"] and a["worker"] == body["worker"]]
        return int(fit) - len(held)

    def _waiting(self, study: Row) -> list[Row]:
        """Interrupted trials first, then in order of number."""
        queue = [t for t in self.trials_of(study) if t["state"] == "queued"]
        ready = [t for t in queue if t["ready"] <= self.clock]
        return sorted(ready, key=lambda t: (t["token"] == 0, t["number"]))

    def _priority(self, study_id: str) -> int:
        return int(self.studies[study_id]["definition"].get("priority", 0))

    # -- what a worker says ----------------------------------------------------------------------

    def heartbeat(self, call: Call, answer: Answer) -> None:
        """Keeps a living lease; the others hear how it ended."""
        attempt = self._held(call, answer)
        if attempt is None or self._parted(attempt, answer):
            return
        assert call.body is not None
        expect(answer.json["action"] == "continue", f"{answer} to a beat")
        trial = self._prolong(attempt)
        trial["step"] = max(trial["step"], call.body["step"])

    def report(self, call: Call, answer: Answer, after: Rows) -> None:
        """The first report of a step stays, and so does its verdict."""
        attempt = self._held(call, answer)
        if attempt is None:
            return None
        body = call.body or {}
        stored = self.reports.get((attempt["trial"], body["step"]))
        if attempt["outcome"] == "complete" and stored and stored["token"] == body["token"]:
            return expect(answer.json["action"] == stored["verdict"], f"{answer}, not the first")
        if self._parted(attempt, answer):
            return None
        if self._nonsense(body, answer):
            return None
        trial = self._prolong(attempt)
        self._keep_resume(trial, body)
        expect(answer.status == 200, f"{answer} to a report")
        verdict = "continue"
        for rung in [*body.get("earlier", []), body]:
            key = (trial["uid"], rung["step"])
            if key not in self.reports:
                verdict = self._verdict(trial, key, after)
                self.reports[key] = {
                    "token": body["token"], "metrics": rung["metrics"], "verdict": verdict
                }  # fmt: skip
                trial["step"] = max(trial["step"], rung["step"])
            verdict = self.reports[key]["verdict"]
            if verdict == "prune":
                self.end(trial, "pruned", "pruned")
                self.advance(self.studies[trial["study"]], after)
                break
        return expect(answer.json["action"] == verdict, f"{answer}, not {verdict}")

    def result(self, call: Call, answer: Answer, after: Rows) -> None:
        """Exactly one result; its repeat is answered like the first, another one is refused."""
        attempt = self._held(call, answer)
        if attempt is None:
            return None
        body, trial = call.body or {}, self.trials[attempt["trial"]]
        if attempt["outcome"] == "complete":
            first = (trial["metrics"], trial["step"])
            same = first == (body["metrics"], body["step"])
            wanted = (204, None) if same else (409, "IllegalMove")
            return expect((answer.status, answer.error) == wanted, f"{answer} to a second result")
        if self._over(attempt, answer):
            return None
        if self._nonsense(body, answer, trial):
            return None
        study = self.studies[trial["study"]]
        if trial["kind"] == "start":
            study["calibrated"] = True
        expect(answer.status == 204, f"{answer} to a result")
        trial |= {"metrics": body["metrics"], "step": body["step"]}
        self.end(trial, "complete", "complete")
        self.hear(attempt["worker"])
        self.workers[attempt["worker"]]["failures"] = 0
        return self.advance(study, after)

    def failure(self, call: Call, answer: Answer, after: Rows) -> None:
        """The cause decides what follows."""
        attempt = self._held(call, answer)
        if attempt is None:
            return None
        if attempt["outcome"] in ("failed", "diverged"):
            return expect(answer.status == 204, f"{answer} to a repeated failure")
        if self._over(attempt, answer):
            return None
        expect(answer.status == 204, f"{answer} to a failure")
        trial, cause = self.trials[attempt["trial"]], (call.body or {})["cause"]
        self.hear(attempt["worker"])
        study = self.studies[trial["study"]]
        if cause == "diverged" and trial["kind"] != "start":
            self.workers[attempt["worker"]]["failures"] = 0
            self.end(trial, "diverged", "diverged", cause)
            return self.advance(study, after)
        if cause in ("storage", "error"):
            self._suspect(attempt)
        if cause == "out_of_memory" and attempt["together"] > 1:
            key = (study["id"], self.workers[attempt["worker"]]["memory"])
            fitting = max(attempt["together"] // 2, 1)
            self.fits[key] = min(self.fits.get(key, fitting), fitting)
            trial |= {"counted": trial["counted"] - 1, "ready": self.clock}
            return self.end(trial, "queued", "failed", cause)
        final = cause in ("data", "definition", "diverged")
        pause = min(2.0 ** max(trial["counted"] - 1, 0), 60.0)
        return self._again(trial, 0 if final else MAX_ATTEMPTS, "failed", pause, after, cause)

    def release(self, call: Call, answer: Answer) -> None:
        """A trial given back in good order: as if it had not been tried."""
        attempt = self._held(call, answer)
        if attempt is None:
            return None
        if attempt["outcome"] == "released":
            return expect(answer.status == 204, f"{answer} to a repeated release")
        if self._over(attempt, answer):
            return None
        if self._nonsense(call.body or {}, answer):
            return None
        expect(answer.status == 204, f"{answer} to a release")
        trial = self.trials[attempt["trial"]]
        self._keep_resume(trial, call.body or {})
        trial |= {"counted": trial["counted"] - 1, "ready": self.clock}
        self.hear(attempt["worker"])
        return self.end(trial, "queued", "released")

    # -- time ------------------------------------------------------------------------------------

    def swept(self, lapsed: list[str], after: Rows) -> None:
        """The reaper ran: what is overdue lapses and nothing else does, budgets of time end."""
        held = [t for t in self.trials.values() if t["state"] == "leased"]
        overdue = [trial for trial in held if trial["expires"] < self.clock]
        expect(sorted(lapsed) == sorted(t["uid"] for t in overdue), f"{lapsed} lapsed")
        for trial in overdue:
            self._lapse(trial, after)
        for study in list(self.studies.values()):
            if study["state"] in OFFERED and self.late(study):
                self.advance(study, after)
        for worker in self.workers.values():
            if worker["state"] == "active" and self.clock - worker["heard"] > 3 * LEASE_SECONDS:
                worker["state"] = "gone"

    def _lapse(self, trial: Row, after: Rows) -> None:
        attempt = self.attempts[trial["lease"]]
        got_on = trial["resume"] is not None and trial["resume"][1] > attempt["resumed_step"]
        if got_on:
            trial["counted"] -= 1
        elif self._poison(trial, attempt):
            self.end(trial, "failed", "lapsed")
            return self.advance(self.studies[trial["study"]], after)
        return self._again(trial, MAX_ATTEMPTS, "lapsed", 0.0, after, None)

    def _poison(self, trial: Row, attempt: Row) -> bool:
        earlier = [a for a in self.attempts.values() if a["trial"] == trial["uid"]]
        earlier = sorted(earlier, key=lambda a: -a["token"])[1:POISON]
        same = [
            a for a in earlier
            if a["outcome"] == "lapsed" and a["resumed_step"] == attempt["resumed_step"]
        ]  # fmt: skip
        workers = {attempt["worker"], *(a["worker"] for a in same)}
        return len(same) == POISON - 1 and len(workers) > 1

    def _again(
        self, trial: Row, allowed: int, outcome: str, pause: float, after: Rows, cause: str | None
    ) -> None:
        if trial["counted"] < allowed:
            # `pause` lets the player of time check the row, and make the pause longer.
            trial |= {"ready": self.clock + pause, "pause": pause > 0}
            return self.end(trial, "queued", outcome, cause)
        self.end(trial, "failed", outcome, cause)
        return self.advance(self.studies[trial["study"]], after)

    # -- who may say it --------------------------------------------------------------------------

    def _held(self, call: Call, answer: Answer) -> Row | None:
        """The attempt a message is about; none if nobody was given this lease with this token."""
        attempt = self.attempts.get(call.path.split("/")[4])
        if attempt is None or attempt["token"] != (call.body or {})["token"]:
            expect((answer.status, answer.error) == (409, "LeaseLost"), f"{answer} to a stranger")
            return None
        return attempt

    def _over(self, attempt: Row, answer: Answer) -> bool:
        if attempt["outcome"] == "running":
            return False
        expect((answer.status, answer.error) == (409, "LeaseLost"), f"{answer} after the end")
        return True

    def _parted(self, attempt: Row, answer: Answer) -> bool:
        """Whether the attempt is over, and then that its worker hears it."""
        parting = PARTINGS.get(attempt["outcome"])
        if parting is None:
            return self._over(attempt, answer)
        heard = answer.status == 200 and answer.json["action"] == parting
        expect(heard, f"{answer} after {attempt['outcome']}")
        return True

    def _nonsense(self, body: Row, answer: Answer, trial: Row | None = None) -> bool:
        """Whether a message cannot be right, and then that it was refused."""
        checkpoint = body.get("checkpoint")
        wrong = checkpoint is not None and not int(checkpoint["blob"]["sha256"], 16)
        if trial is not None and trial["kind"] == "start":
            wrong = body["start"] is None
        elif trial is not None:
            wrong = "mdsi" not in body["metrics"]
        if wrong:
            expect((answer.status, answer.error) == (422, "InvalidRequest"), f"{answer}")
        return wrong

    def _prolong(self, attempt: Row) -> Row:
        trial = self.trials[attempt["trial"]]
        trial["expires"] = self.clock + LEASE_SECONDS
        self.hear(attempt["worker"])
        return trial

    def _keep_resume(self, trial: Row, body: Row) -> None:
        checkpoint = body.get("checkpoint")
        if checkpoint and (trial["resume"] is None or checkpoint["step"] >= trial["resume"][1]):
            trial["resume"] = (checkpoint["blob"]["sha256"], checkpoint["step"])

    def _verdict(self, trial: Row, key: tuple[str, int], after: Rows) -> str:
        """The service's choice where it has one: proposed trials, once enough are complete."""
        pruning = self.studies[trial["study"]]["definition"]["pruning"]
        row = after.report.get(key)
        expect(row is not None, f"the report {key} is not stored")
        assert row is not None
        full = [t for t in self.trials.values() if t["study"] == trial["study"]]
        full = [t for t in full if t["kind"] == "search" and t["state"] == "complete"]
        may = trial["origin"] == "sampler" and pruning["method"] == "transfer"
        may = may and key[1] >= pruning["after"] * STEPS and len(full) >= pruning["trials"]
        expect(may or row["verdict"] == "continue", f"{key} was pruned for no reason")
        return str(row["verdict"])

    def _suspect(self, attempt: Row) -> None:
        """A failure counts against the worker where another one could train the study."""
        others = [
            a for a in self.attempts.values()
            if a["study"] == attempt["study"] and a["outcome"] == "complete"
            and a["worker"] != attempt["worker"] and self.trials[a["trial"]]["kind"] != "start"
        ]  # fmt: skip
        if not others:
            return
        worker = self.workers[attempt["worker"]]
        worker["failures"] += 1
        if worker["failures"] >= SUSPECT and worker["state"] == "active":
            worker["state"] = "quarantined"
