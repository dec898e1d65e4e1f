"""What must be true of everything a worker says about its lease."""

from __future__ import annotations

from tests.model.book import expect
from tests.model.leases import Leases
from tests.model.replica import Answer, Call
from tests.model.rows import Row, Rows
from tests.model.scene import LEASE_SECONDS, MAX_ATTEMPTS, STEPS

#: So many failures in a row, on trials others can train, put a worker aside.
SUSPECT = 3
PARTINGS = {"pruned": "prune", "cancelled": "stop"}


class Holding(Leases):
    """The whole book."""

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
        if attempt["outcome"] == "complete" and stored:
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
