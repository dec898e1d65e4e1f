"""What a process of simulated workers is told: how many, where, and how they misbehave."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

#: Trials with such numbers, in studies of such a name, fail wherever they are trained.
POISON_STUDY, POISON_EVERY, POISON_REST = "poison", 7, 3


@dataclass(frozen=True)
class Temper:
    """How a worker misbehaves: probabilities, per trial or per request."""

    sleeps: float = 0.0  #: stays silent past its lease, then goes on regardless
    repeats: float = 0.0  #: sends again what was answered
    fails: float = 0.0  #: ends an attempt without a result
    bad: bool = False  #: fails everything it gets
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AgentSettings:
    """What an agent process is told when it is started."""

    url: str
    name: str
    threads: int = 4
    together: bool = False  #: the threads ask in the name of one worker
    capacity: int = 1
    seed: int = 0
    lease_seconds: float = 1.0
    step_seconds: float = 0.02
    timeout: float = 6.0
    temper: Temper = Temper()

    def encoded(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decoded(cls, text: str) -> AgentSettings:
        values = json.loads(text)
        return cls(**{**values, "temper": Temper(**values["temper"])})
