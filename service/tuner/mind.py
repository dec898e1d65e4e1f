"""The sampler's memories of all studies that search: told of trials, asked for new ones.

Knows no database. Runs in this process or, as `service.sampler`, in one of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from service.contract.study import StudyDefinition
from service.contract.trial import Calibration
from service.contract.vocabulary import Vocabulary
from service.tuner.memory import Memory
from service.tuner.observation import Coordinates, Observation
from service.tuner.space import Point, Space


@dataclass(frozen=True)
class Proposal:
    """What the sampler would try as trial `number`."""

    number: int
    coordinates: Coordinates
    point: Point


class Thinker(Protocol):
    """Who thinks up trials, wherever it does."""

    def begin(self) -> None:
        """Get ready; there will be questions."""

    def meet(
        self,
        study: str,
        definition: StudyDefinition,
        vocabulary: Vocabulary,
        calibration: Calibration,
    ) -> None:
        """Begin with a study, or begin anew: nothing is known of its trials."""

    def tell(self, study: str, observations: Sequence[Observation]) -> None:
        """Take in what became of trials."""

    def propose(self, study: str, numbers: Sequence[int], clock: int) -> list[Proposal]:
        """Proposals that know of every end up to this time of the study's clock."""

    def keep(self, studies: set[str]) -> None:
        """Forget all other studies."""


class Mind:
    """Thinks in the process it is in."""

    def __init__(self) -> None:
        self._studies: dict[str, tuple[Memory, Space]] = {}

    def begin(self) -> None:
        """Being here is enough."""

    def meet(
        self,
        study: str,
        definition: StudyDefinition,
        vocabulary: Vocabulary,
        calibration: Calibration,
    ) -> None:
        space = Space(definition, vocabulary, calibration)
        self._studies[study] = Memory(definition, vocabulary), space

    def tell(self, study: str, observations: Sequence[Observation]) -> None:
        memory, _ = self._studies[study]
        for observation in observations:
            memory.observe(observation)

    def propose(self, study: str, numbers: Sequence[int], clock: int) -> list[Proposal]:
        memory, space = self._studies[study]
        found = memory.propose_together(numbers, clock=clock)
        return [
            Proposal(number, coordinates, point)
            for number, coordinates, point in zip(numbers, found, space.points(found), strict=True)
        ]

    def keep(self, studies: set[str]) -> None:
        for study in self._studies.keys() - studies:
            del self._studies[study]
