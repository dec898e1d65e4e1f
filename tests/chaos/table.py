"""What was done to an installation, what it did meanwhile, and what was broken: for people."""

from __future__ import annotations

from collections import Counter

from tests.chaos.history import WRITES
from tests.chaos.run import Judged
from tests.chaos.storm import touched


def table(judged: Judged) -> str:
    """Fault, times, operations under way meanwhile; then what clients did, and every violation."""
    times = Counter(one.fault for one in judged.injected)
    felt = touched(judged.injected, judged.operations)
    rows = [(fault, times[fault], felt[fault]) for fault in sorted(times, key=lambda f: -times[f])]
    rows += [(f"requests {what}", count, count) for what, count in judged.wire.most_common()]
    stale = judged.evidence.stale_writes()
    rows.append(
        ("zombies (leases used after a newer one)", len({o.lease for o in stale}), len(stale))
    )
    lines = [f"{'fault':44}{'times':>8}{'operations':>12}"]
    lines += [f"{name:44}{count:8}{operations:12}" for name, count, operations in rows]
    lines += [f"{name:44}{'-':>8}  {why}" for name, why in judged.impossible.items()]
    lines += ["", _clients(judged), _trials(judged), ""]
    lines.append(f"violations: {len(judged.violations)}")
    lines += [f"  {violation}" for violation in judged.violations[:50]]
    return "\n".join(lines)


def _clients(judged: Judged) -> str:
    """Operations as the clients know them; the wire's copies are counted apart."""
    own = [one for one in judged.operations if one.client != "wire"]
    known = Counter("unknown" if o.status is None else f"{o.status // 100}xx" for o in own)
    writes = sum(one.kind in WRITES for one in own)
    said = ", ".join(f"{count} {what}" for what, count in sorted(known.items()))
    return f"operations of clients: {len(own)} ({said}), of them {writes} writes of a lease"


def _trials(judged: Judged) -> str:
    states = Counter(trial["state"] for trial in judged.tables.trials)
    outcomes = Counter(attempt["outcome"] for attempt in judged.tables.attempts)
    return (
        f"trials: {_listed(states)}; attempts: {_listed(outcomes)}; "
        f"studies: {_listed(Counter(study['state'] for study in judged.tables.studies))}"
    )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())
