"""Where the state machine plays: it sends, looks, and compares with the model after every step."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from hypothesis.stateful import RuleBasedStateMachine
from sqlalchemy import Engine, text

from tests.model.accident import Accident
from tests.model.book import Broken, expect
from tests.model.holding import Holding
from tests.model.judge import agree, judge
from tests.model.replica import Answer, Call, Replica
from tests.model.rows import Row, Rows, empty, look, violations
from tests.model.scene import NORMS, RUNGS, STEPS

API = "/api/v1"
#: So much longer every back-off takes here, or it would end while the model thinks.
BACK_OFF_LONGER = 600.0
#: An object that nobody has.
NOWHERE = {"sha256": "0" * 64, "size": 7}
#: A lease or study that nobody was given.
NOBODY = "0" * 24
CAUSES = ["diverged", "out_of_memory", "data", "definition", "storage", "error"]


class Stage(RuleBasedStateMachine):
    """Services, the model, and the rows as they were seen last; whatever is sent is judged."""

    #: Of all examples so far: how often each rule and each answer came.
    counts: ClassVar[Counter[str]] = Counter()

    engine: ClassVar[Engine]
    services: ClassVar[list[Replica]]

    def __init__(self) -> None:
        super().__init__()
        empty(self.engine)
        for service in self.services:
            service.restart()
        self.accident = Accident()
        self.book = Holding()
        self.rows = look(self.engine)
        #: Requests that clients made, and may make again at any time; some were never sent.
        self.bag: list[Call] = []
        self.turn = 0

    @classmethod
    def table(cls) -> str:
        """How often what happened, most often first."""
        return "".join(f"\n{count:8d}  {what}" for what, count in cls.counts.most_common())

    def _replica(self) -> Replica:
        self.turn += 1
        return self.services[self.turn % len(self.services)]

    def _send(self, *calls: Call, again: bool = False) -> list[Answer]:
        if not again:
            self.bag.extend(calls)
        replica = self._replica()
        for call in calls:
            self._store(replica, call)
        answers = replica.send(*calls)
        self._judge(list(calls), answers, look(self.engine))
        return answers

    def _judge(self, calls: list[Call], answers: list[Answer], after: Rows) -> None:
        self.counts["step"] += 1
        for call, answer in zip(calls, answers, strict=True):
            self.counts[f"answer {answer.status} to {call.act}"] += 1
        self.book = judge(self.book, calls, answers, self.rows, after)
        self._prolong_back_offs(after)

    def _settle(self, after: Rows) -> None:
        """The same checks, where no request was made."""
        self.counts["step"] += 1
        if broken := violations(self.rows, after, moves=2):
            raise Broken("; ".join(broken))
        agree(self.book, after)
        self._prolong_back_offs(after)

    def _prolong_back_offs(self, after: Rows) -> None:
        self.rows = after
        fresh = [trial for trial in self.book.trials.values() if trial.pop("pause", None)]
        for trial in fresh:
            row, attempts = after.trial[trial["uid"]], after.attempts_of(trial["uid"])
            ended = max(attempt["ended"] for attempt in attempts)
            pause = row["not_before"] - ended
            expect(abs(pause - (trial["ready"] - self.book.clock)) < 0.001, f"paused {pause} s")
            trial["ready"] += BACK_OFF_LONGER
        if fresh:
            with self.engine.begin() as connection:
                for trial in fresh:
                    connection.execute(
                        text("UPDATE trial SET not_before = not_before + :s WHERE uid = :uid"),
                        {"s": BACK_OFF_LONGER, "uid": trial["uid"]},
                    )
            self.rows = look(self.engine)

    def _ask(self, worker: str, capacity: int, word: str | None) -> list[Any]:
        body = {"worker": worker, "capacity": capacity, "request": word}
        answer = self._send(Call("lease", f"{API}/leases", body))[0]
        return answer.json if answer.status == 200 else []

    def _say(self, saying: str, lease: str, what: int, score: int) -> None:
        self._send(self._saying(saying, lease, what, score))

    def _saying(
        self, saying: str, lease: str, what: int, score: int, *, token: int | None = None
    ) -> Call:
        """A message about a lease; `what` and `score` choose its content."""
        body: Row = {"token": self._token(lease) if token is None else token}
        metrics = {"psnr_y": 25.0 + score, "mdsi": 0.5 - score / 20}
        step = RUNGS[what % len(RUNGS)]
        if saying == "heartbeat":
            body |= {"step": what % STEPS, "steps_per_second": 2.5}
        elif saying == "report":
            body |= {"step": step, "metrics": metrics}
            if what % 2:
                body["checkpoint"] = {"blob": self._blob(f"state at {step}"), "step": step}
            if what % 5 == 4:
                earlier = [rung for rung in RUNGS if rung < step]
                body["earlier"] = [{"step": rung, "metrics": metrics} for rung in earlier]
        elif saying == "result":
            body |= {"step": STEPS, "metrics": metrics, "weights_blob": self._blob(f"w{score}")}
            body |= {"start": self._blob("start"), "train_seconds": 10.0}
            body["calibration"] = {"norms": NORMS, "values": NORMS, "batches": 8}
        elif saying == "failure":
            body |= {"cause": CAUSES[what % len(CAUSES)], "message": "it broke", "step": 3}
        elif what % 2:
            body["checkpoint"] = {"blob": self._blob(f"state at {what % 9}"), "step": what % 9}
        path = {"report": "reports"}.get(saying, saying)
        return Call(saying, f"{API}/leases/{lease}/{path}", body)

    def _blob(self, content: str) -> dict[str, Any]:
        return self.services[0].store(content.encode())

    def _store(self, replica: Replica, call: Call) -> None:
        """Workers upload before they report; an object may have gone with a deleted study."""
        for blob in _blobs(call.body):
            if blob != NOWHERE:
                replica.restore(blob["sha256"])

    def _holder(self, which: int) -> str:
        """A living lease, if there is one to be had."""
        living = self._living()
        if not living:
            self._ask(self._worker("roomy"), 2, None)
            living = self._living()
        return str(self._pick(living or list(self.book.attempts) or [NOBODY], which))

    def _living(self) -> list[str]:
        return [key for key, a in self.book.attempts.items() if a["outcome"] == "running"]

    def _token(self, lease: str) -> int:
        return int(self.book.attempts[lease]["token"]) if lease in self.book.attempts else 1

    def _worker(self, name: str) -> str:
        return next(key for key, worker in self.book.workers.items() if worker["name"] == name)

    def _pick(self, among: list[Any], which: int) -> Any:
        return among[which % len(among)]


def _blobs(body: Any) -> list[dict[str, Any]]:
    if not isinstance(body, dict):
        return []
    if body.keys() == {"sha256", "size"}:
        return [body]
    return [blob for value in body.values() for blob in _blobs(value)]
