"""What this process counts and times by itself; what the rows say is in `service.figures`.

Every label has few values, whatever is asked of us: routes are patterns, methods and statuses those
of HTTP, and the rest are words of our own.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from sqlalchemy import Engine, event

from service import trail

#: Whoever works for nobody in particular.
_OTHER = "other"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Telemetry:
    """The instruments of one service process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Histogram(
            "srtune_request_seconds",
            "Seconds from request to the start of the answer.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._leases = Histogram(
            "srtune_lease_seconds",
            "Seconds from POST /leases to its answer, granted or empty.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._rejected = Counter(
            "srtune_rejected", "Answers that were errors.", ["status"], registry=registry
        )
        self._lost = Counter(
            "srtune_leases_lost",
            "Writes refused because the lease was over (409 LeaseLost).",
            registry=registry,
        )
        self._statements = Counter(
            "srtune_statements",
            "Statements sent to the database, by what they were for.",
            ["work"],
            registry=registry,
        )
        self._batches = Histogram(
            "srtune_batch_operations",
            "Workers' writes per transaction of the group commit.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self._lapses = Counter(
            "srtune_lapses", "Leases that this process found overdue.", registry=registry
        )

    def answered(
        self, method: str, route: str, status: int, seconds: float, error: str | None
    ) -> None:
        """A request got the head of its answer."""
        known = method if method in _METHODS else _OTHER
        self._requests.labels(known, route, str(status)).observe(seconds)
        if method == "POST" and route.endswith("/leases"):
            self._leases.observe(seconds)
        if status >= 400:
            self._rejected.labels(str(status)).inc()
        if error == "LeaseLost":
            self._lost.inc()

    def committed(self, operations: int) -> None:
        """A transaction of the group commit went through."""
        self._batches.observe(operations)

    def lapsed(self, leases: int) -> None:
        """The reaper took so many trials from silent workers."""
        self._lapses.inc(leases)

    def watch(self, engine: Engine) -> None:
        """Count the statements of this engine under the `work` of whoever sends them."""
        counters: dict[object, Any] = {}

        @event.listens_for(engine, "before_cursor_execute")
        def _count(*_: object) -> None:
            work = trail.fields_now().get("work", _OTHER)
            counter = counters.get(work)
            if counter is None:
                counter = counters[work] = self._statements.labels(str(work))
            counter.inc()
