"""What must be true of leases: who gets which trials, and what happens when time passes."""

from __future__ import annotations

from typing import Any

from tests.model.book import OFFERED, Book, expect
from tests.model.replica import Answer, Call
from tests.model.rows import Row, Rows
from tests.model.scene import LEASE_SECONDS, MAX_ATTEMPTS

#: So many lost workers in a row, not all the same, put a trial aside.
POISON = 3


class Leases(Book):
    """The book with its pages about who holds what."""

    def __init__(self) -> None:
        super().__init__()
        self.fits: dict[tuple[str, int], int] = {}

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
