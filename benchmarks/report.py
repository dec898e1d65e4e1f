"""The lines that `benchmarks.losses` prints."""

from __future__ import annotations

from benchmarks.stopwatch import Duel

_COLUMNS = "{:32} {:>9} {:16} {:>9} {:>6} {:>9} {:>9}"

#: Over the columns.
HEADING = _COLUMNS.format("loss", "ours ms", "peer", "peer ms", "ratio", "Δ value", "Δ grad")


def row(loss: str, peer: str, found: Duel) -> str:
    """Return a line of the table."""
    return _COLUMNS.format(
        loss, f"{found.ours:.2f}", peer, f"{found.theirs:.2f}", f"{found.ratio:.2f}",
        f"{found.value_gap:.0e}", f"{found.gradient_gap:.0e}",
    )  # fmt: skip


def row_alone(loss: str, peer: str, said: str) -> str:
    """Return a line that has nothing to compare: our milliseconds, or why there is no peer."""
    return f"{loss:32} {said:>9} {peer}"
