"""What may not be missing: each entry takes one safeguard out of the service.

`old` is the code as it stands, matched to the letter; where it has moved, the run stops and says
so, because a mutant that changes nothing proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

RACES = "tests/model/test_races.py"
LOCKS = "tests/model/test_locks.py"
CONTENTION = "tests/model/test_contention.py"
ACCIDENTS = "tests/model/test_accidents.py"
MACHINE = "tests/model/test_machine.py"
TRIALS = "tests/service/test_trials.py"
DISPATCH = "tests/service/test_dispatch.py"
ACCESS = "tests/service/test_access.py"
STATES = "tests/service/test_states.py"
PROPOSER = "tests/service/test_proposer.py"


@dataclass(frozen=True)
class Mutant:
    """A safeguard, the code that is it, the code without it, and the tests that must notice."""

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = [
    Mutant(
        "fencing: the token is not compared",
        "service/holding.py",
        "if held.attempt.token != token:",
        "if held.attempt.token < 0:",
        (MACHINE,),
    ),
    Mutant(
        "fencing: an attempt is never over",
        "service/holding.py",
        "return self.attempt.ended is not None",
        "return self.attempt.ended is not None and self.attempt.token < 0",
        (TRIALS, RACES),
    ),
    Mutant(
        "fencing: every lease of a trial has the same token",
        "service/dispatch.py",
        "trial.token += 1",
        "trial.token = 1",
        (TRIALS, RACES),
    ),
    Mutant(
        "unique result: a second, different one is taken for a repeat",
        "service/trials.py",
        "        _check_same(held.trial, result)\n",
        "",
        (TRIALS, RACES),
    ),
    Mutant(
        "unique result: a second one replaces the first",
        "service/trials.py",
        "        _check_same(held.trial, result)\n",
        "        held.trial.metrics = result.metrics\n",
        (TRIALS, RACES),
    ),
    Mutant(
        "SKIP LOCKED: a busy study is waited for",
        "service/dispatch.py",
        ".with_for_update(skip_locked=bool(round_.locked))",
        ".with_for_update()",
        (LOCKS,),
    ),
    Mutant(
        "row locks: leases do not lock the study",
        "service/dispatch.py",
        ".with_for_update(skip_locked=bool(round_.locked))",
        "",
        (CONTENTION,),
    ),
    Mutant(
        "row locks: messages do not lock what they are about",
        "service/holding.py",
        ".with_for_update(of=[Study, Trial, Attempt])",
        "",
        (RACES,),
    ),
    Mutant(
        "row locks: the owner is not locked",
        "service/quotas.py",
        "        .with_for_update()\n",
        "",
        (CONTENTION,),
    ),
    Mutant(
        "BEGIN IMMEDIATE: deferred",
        "service/db.py",
        'session.connection().exec_driver_sql("BEGIN IMMEDIATE")',
        'session.connection().exec_driver_sql("BEGIN DEFERRED")',
        (LOCKS, CONTENTION),
    ),
    Mutant(
        "idempotency: no answer is remembered",
        "service/once.py",
        "row = session.get(Idempotency, key.row)",
        "row = None",
        (RACES, ACCESS),
    ),
    Mutant(
        "idempotency: a key does not wait for itself",
        "service/once.py",
        '    lock(session, f"key:{key.row}")\n',
        "",
        (RACES, ACCESS),
    ),
    Mutant(
        "idempotency: a key may come with another body",
        "service/once.py",
        "if row.body_sha256 != key.digest:",
        "if row.body_sha256 == '':",
        (MACHINE,),
    ),
    Mutant(
        "idempotency: the word of a lease request is not looked up",
        "service/dispatch.py",
        "if word is not None and word in round_.granted:",
        "if word is not None and word in ():",
        (DISPATCH, RACES),
    ),
    Mutant(
        "idempotency: a word does not wait for itself",
        "service/dispatch.py",
        'lock_all(session, [f"lease:{word}" for word in words])',
        "pass",
        (RACES,),
    ),
    Mutant(
        "clock: the process's, not the database's",
        "service/db.py",
        "return float(session.info[_NOW])",
        'return float(__import__("time").time())',
        (LOCKS,),
    ),
    Mutant(
        "lapse: what was prolonged meanwhile lapses all the same",
        "service/attempts.py",
        "trial.expires is None or trial.expires > now(session)",
        "trial.expires is None",
        (LOCKS,),
    ),
    Mutant(
        "counts: running trials are not counted",
        "service/states.py",
        "study.running += (to is TrialState.LEASED) - (trial.state is TrialState.LEASED)",
        "pass",
        (CONTENTION, DISPATCH),
    ),
    Mutant(
        "counts: device seconds are not counted",
        "service/states.py",
        "study.device_seconds += max(attempt.ended - attempt.started, 0.0)",
        "pass",
        (DISPATCH, MACHINE),
    ),
    Mutant(
        "quota: an owner's limit is not kept",
        "service/quotas.py",
        "return min(max(owner.max_running - int(running), 0), wanted)",
        "return wanted",
        (CONTENTION, DISPATCH),
    ),
    Mutant(
        "limit: a study's max_running is not kept",
        "service/dispatch.py",
        "if definition.max_running is not None:",
        "if definition.max_running == 0:",
        (CONTENTION, DISPATCH),
    ),
    Mutant(
        "budget: one trial more than it has",
        "service/proposer.py",
        "definition.budget.trials - study.searched",
        "definition.budget.trials + 1 - study.searched",
        (PROPOSER, MACHINE),
    ),
    Mutant(
        "owners: anybody may change any study",
        "service/ownership.py",
        "if not caller.admin and caller.owner != study.owner:",
        "if not caller.admin and not study.owner:",
        (ACCESS,),
    ),
    Mutant(
        "moves: the table of legal moves is not asked",
        "service/states.py",
        "if to not in TRIAL_MOVES[trial.state]:",
        "if not TRIAL_MOVES:",
        (STATES,),
    ),
    Mutant(
        "commit: a connection whose commit failed is used again",
        "service/db.py",
        "                session.invalidate()\n",
        "",
        (ACCIDENTS,),
    ),
    Mutant(
        "commit: what was done is answered, and rolled back",
        "service/ledger.py",
        "answers = [_answer(one, session) for one in group]",
        "answers = [_answer(one, session) for one in group]\n            session.rollback()",
        (RACES,),
    ),
]
