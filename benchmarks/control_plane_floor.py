"""What the same PostgreSQL gives to bare SQL: lease, reports, result; no HTTP, no sampler, no rules.

    python -m benchmarks.control_plane_floor URL --seconds 5 [--batched]

Sixteen threads with a connection each. A lease is one statement with SKIP LOCKED and a fencing
epoch, a report one that checks the epoch and inserts, a result one; each its own durable commit.
"""

from __future__ import annotations

import argparse
import json
import threading
import time

import psycopg

from benchmarks import control_plane_study as study

_TABLES = """
CREATE TABLE floor_trial (
    id bigserial PRIMARY KEY, state text NOT NULL, epoch int NOT NULL DEFAULT 0,
    expires timestamptz, worker text, params jsonb NOT NULL, value float8
);
CREATE INDEX ON floor_trial (id) WHERE state = 'queued';
CREATE TABLE floor_report (
    trial bigint NOT NULL, step int NOT NULL, value float8, PRIMARY KEY (trial, step)
);
INSERT INTO floor_trial (state, params)
SELECT 'queued', '{"l1": 1, "charbonnier": 1, "huber": 1, "l2": 1, "edge": 1, "fft": 1}'
FROM generate_series(1, 60000);
ANALYZE floor_trial;
"""
_LEASE = """
UPDATE floor_trial SET state = 'leased', epoch = epoch + 1, worker = %s,
    expires = clock_timestamp() + interval '30 s'
WHERE id = (SELECT id FROM floor_trial WHERE state = 'queued' ORDER BY id
            FOR UPDATE SKIP LOCKED LIMIT 1)
RETURNING id, epoch, params
"""
_REPORT = """
WITH held AS (
    UPDATE floor_trial SET expires = clock_timestamp() + interval '30 s'
    WHERE id = %(id)s AND epoch = %(epoch)s AND state = 'leased' RETURNING id
)
INSERT INTO floor_report SELECT held.id, step, 1.5 FROM held, unnest(%(steps)s::int[]) step
ON CONFLICT DO NOTHING
"""
_RESULT = """
UPDATE floor_trial SET state = 'complete', value = 1.5
WHERE id = %(id)s AND epoch = %(epoch)s AND state = 'leased'
"""


def client(url: str, batched: bool, begun: float, ended: float, counts: list[int]) -> None:
    """Cycle until the time is over; adds how many fell into it."""
    cycles = 0
    with psycopg.connect(url, autocommit=True) as connection:
        while time.perf_counter() < ended:
            row = connection.execute(_LEASE, ("w",)).fetchone()
            assert row is not None, "the floor's queue is empty; make it longer"
            held = {"id": row[0], "epoch": row[1]}
            for steps in [list(study.RUNGS)] if batched else [[step] for step in study.RUNGS]:
                written = connection.execute(_REPORT, {**held, "steps": steps}).rowcount
                assert written == len(steps)
            assert connection.execute(_RESULT, held).rowcount == 1
            cycles += begun <= time.perf_counter() < ended
    counts.append(cycles)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warm", type=float, default=0.5)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--batched", action="store_true")
    given = parser.parse_args()
    with psycopg.connect(given.url, autocommit=True) as connection:
        connection.execute(_TABLES)
    begun, counts = time.perf_counter() + given.warm, list[int]()
    arguments = (given.url, given.batched, begun, begun + given.seconds, counts)
    threads = [threading.Thread(target=client, args=arguments) for _ in range(given.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == given.clients, "a client failed; its error is above"
    print(json.dumps({"seconds": given.seconds, "cycles": sum(counts)}))


if __name__ == "__main__":
    main()
