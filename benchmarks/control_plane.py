"""The control plane against Optuna's own storage, on the same durable PostgreSQL in the same minute.

    python -m benchmarks.control_plane [--quick] [--rounds 3] [--seconds 5]
    python -m benchmarks.control_plane --soak 100000

Starts its own PostgreSQL (fsync on) and real services on it, gives both sides the same past, and
lets the rows take turns, round after round, so that a busy minute hits all of them. Prints a table,
and every promise with met or missed. The soak is apart because it takes a quarter of an hour.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks import control_plane_table as table
from benchmarks.control_plane_cells import Results, Row, run
from benchmarks.control_plane_cluster import cluster
from benchmarks.control_plane_ends import dead_worker, restarts
from benchmarks.control_plane_places import Places
from benchmarks.control_plane_soak import soak

OPTUNA = Row("Optuna, PostgreSQL", "optuna")
BATCHED = Row("ours, batched", "ours")
UNBATCHED = Row("ours, unbatched", "ours", batched=False)
ROWS: tuple[Row, ...] = (
    OPTUNA,
    BATCHED,
    UNBATCHED,
    Row("ours, batched, two replicas", "ours", replicas=2),
    Row("ours, unbatched, two replicas", "ours", batched=False, replicas=2),
    Row("raw SQL, batched", "floor"),
    Row("raw SQL, unbatched", "floor", batched=False),
    Row("Optuna, SQLite", "optuna", "SQLite"),
    Row("ours, SQLite, batched", "ours", "SQLite"),
    Row("ours, SQLite, unbatched", "ours", "SQLite", batched=False),
)
HISTORIES = (0, 1_000, 5_000)


def main() -> None:
    given = _arguments()
    logging.disable(logging.INFO)
    # However it is ended, its servers end with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="srtune-control-plane-", dir=given.folder))
    # The socket in it is PostgreSQL's, who may be somebody else than we.
    folder.chmod(0o755)
    try:
        with cluster(folder / "postgres") as running:
            places = Places(folder, running)
            print(table.facts(folder, running), flush=True)
            if given.soak:
                print("\n".join(table.soaked(soak(places, given.soak))))
                return
            compare(places, given)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def compare(places: Places, given: argparse.Namespace) -> None:
    """All rows at all histories, then the ends."""
    rows = ROWS[:3] if given.quick else ROWS
    if given.rows:
        chosen = {row for row in ROWS if given.rows in row.name}
        peers = {table.peer(row) for row in chosen}
        rows = tuple(row for row in ROWS if row in chosen or row.name in peers)
    found = [histories(places, rows, finished, given) for finished in given.history]
    lines = ["", "promises"]
    if {BATCHED, UNBATCHED} <= set(rows):
        lines += table.verdicts(found, BATCHED, UNBATCHED)
    if not given.rows:
        longest = given.history[-1]
        again = restarts(places, longest, 1 if given.quick else 3)
        lines += table.ends(again, dead_worker(places), longest)
    print("\n".join(lines))


def histories(
    places: Places, rows: tuple[Row, ...], finished: int, given: argparse.Namespace
) -> Results:
    """Every row in turn, as many rounds as wanted, on this many finished trials."""
    results = Results(finished)
    for turn in range(given.rounds):
        for row in rows:
            _tell(f"{finished:,} finished trials, round {turn + 1}: {row.name}")
            cell = run(row, places, finished, given.seconds)
            results.cells.setdefault(row.name, []).append(cell)
    _tell("")
    print(table.history(results, rows), flush=True)
    return results


def _tell(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round, to see it work")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--history", type=int, nargs="+", default=list(HISTORIES))
    parser.add_argument("--rows", help="only rows whose name has this in it, and Optuna's")
    parser.add_argument("--folder", help="where databases go; default: the system's temporary one")
    parser.add_argument("--soak", type=int, metavar="TRIALS", help="measure memory, nothing else")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.seconds, given.history = 1, 2.0, [1_000]
    return given


if __name__ == "__main__":
    main()
