"""What was measured, beside what was promised."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.control_plane_cells import Results, Row
from benchmarks.control_plane_cluster import Cluster, disk_of
from benchmarks.control_plane_ends import Restarts
from benchmarks.control_plane_soak import Soak

#: Targets: times Optuna's rate; ms; statements a cycle; seconds; part of the memory.
BATCHED, UNBATCHED = 10.0, 4.0
LEASE_P95, STATEMENTS = 50.0, 12.0
RESTART, AGAIN, GROWTH = 1.5, 5.0, 0.10


def facts(folder: Path, cluster: Cluster) -> str:
    """The machine and the durability all figures stand on."""
    cpu = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return (
        f"{os.cpu_count()} × {cpu[0] if cpu else platform.machine()}, "
        f"load {os.getloadavg()[0]:.1f} before, Python {platform.python_version()}\n"
        f"PostgreSQL {cluster.setting('server_version')}, fsync {cluster.setting('fsync')}, "
        f"synchronous_commit {cluster.setting('synchronous_commit')}, {disk_of(folder)}\n"
        "one cycle: a trial asked for, ten scores reported, its result told; 16 clients; six "
        "log-uniform floats,\none objective, TPE multivariate with constant liar, no pruning. "
        "Optuna: RDBStorage, 16 threads, one study\nobject. Ours: HTTP, stored bearer token, "
        "srtune serve without MLflow. × is the median of rounds."
    )


def history(results: Results, rows: Sequence[Row]) -> str:
    """The table of one history."""
    lines = [
        f"\n{results.finished:,} finished trials",
        f"{'':34}{'cycles/s':>9}{'worst-best':>14}{'× Optuna':>9}"
        f"{'lease ms p50':>13}{'p95':>6}{'p99':>6}{'wait p95':>9}{'statements':>11}"
        f"{'transact.':>10}{'CPU ms':>7}",
    ]
    return "\n".join(lines + [_line(results, row) for row in rows if row.name in results.cells])


def _line(results: Results, row: Row) -> str:
    cells = results.cells[row.name]
    rates = [cell.cycles for cell in cells]
    ratio = "" if row.side == "optuna" else f"{results.ratio(row.name, peer(row)):.1f}"
    times = ""
    if cells[0].lease:
        quantiles = [results.milliseconds(row.name, part) for part in (0.5, 0.95, 0.99)]
        waits = results.milliseconds(row.name, 0.95, "wanting")
        times = "".join(f"{q:{w}.0f}" for q, w in zip(quantiles, (13, 6, 6), strict=True))
        times += f"{waits:9.0f}"
    counts = ""
    if cells[0].statements is not None:
        transactions = [c.transactions for c in cells if c.transactions is not None]
        counts = f"{results.statements(row.name):11.1f}{statistics.median(transactions):10.1f}"
    cpu = 1000 * statistics.median(cell.service_cpu for cell in cells)
    return (
        f"{row.name:34}{results.rate(row.name):9.1f}{min(rates):8.1f}-{max(rates):<5.1f}{ratio:>9}"
        f"{times:34}{counts:21}{f'{cpu:7.1f}' if cpu else ''}"
    ).rstrip()


def peer(row: Row) -> str:
    """The row a row is compared with."""
    return f"Optuna, {row.engine}"


def verdicts(all_results: Sequence[Results], batched: Row, unbatched: Row) -> list[str]:
    """Every promise about rates, leases and statements, met or missed."""
    lines = []
    for results in all_results:
        at = f"at {results.finished:,} finished trials"
        for row, target in ((batched, BATCHED), (unbatched, UNBATCHED)):
            ratio = results.ratio(row.name, peer(row))
            lines.append(
                verdict(f"{row.name} {at}", f"{ratio:.1f} ×", f"≥ {target:.0f} ×", ratio >= target)
            )
        found = results.statements(batched.name)
        if found is not None:
            text = f"statements a batched cycle {at}"
            lines.append(verdict(text, f"{found:.1f}", f"≤ {STATEMENTS:.0f}", found <= STATEMENTS))
    longest = all_results[-1]
    for row in (batched, unbatched):
        p95 = longest.milliseconds(row.name, 0.95)
        text = f"lease p95, {row.name}, {longest.finished:,} finished trials"
        lines.append(verdict(text, f"{p95:.0f} ms", f"≤ {LEASE_P95:.0f} ms", p95 <= LEASE_P95))
    return lines


def ends(again: Restarts, dead: Sequence[float], finished: int) -> list[str]:
    """The promises about restarts and dead workers."""
    lines = []
    for how, times in (("nothing proposed yet", again.empty), ("killed under load", again.killed)):
        middle = statistics.median(times)
        text = f"restart to first lease, {finished:,} trials, {how}"
        lines.append(verdict(text, f"{middle:.2f} s", f"≤ {RESTART} s", middle <= RESTART))
    return [
        *lines,
        verdict(
            "dead worker's trial leased again, latest of all",
            f"TTL {max(dead):+.1f} s",
            f"≤ TTL + {AGAIN:.0f} s",
            max(dead) <= AGAIN,
        ),
    ]


def soaked(found: Soak) -> list[str]:
    """The promise about memory."""
    total, growth = max(found.memory), found.growth()
    text = f"memory over {total:,} trials ({total / found.seconds:.0f} cycles/s)"
    return [verdict(text, f"{100 * growth:+.1f} %", "± 10 %", abs(growth) <= GROWTH)]


def verdict(what: str, found: str, target: str, met: bool) -> str:
    return f"{'met   ' if met else 'MISSED'}  {what:66}{found:>12}   {target}"
