"""Memory of the service over very many trials, in studies of a thousand, one after another."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from benchmarks.control_plane_cells import drive
from benchmarks.control_plane_load import Load
from benchmarks.control_plane_places import Places
from benchmarks.control_plane_service import make_token, serving

STUDY = 1000
_PARTS = 20


@dataclass(frozen=True)
class Soak:
    """Finished trials → megabytes after them, and how fast they went."""

    memory: dict[int, float]
    seconds: float

    def growth(self) -> float:
        """Memory at the end over that at a tenth of the way, less one."""
        counts = sorted(self.memory)
        tenth = min(counts, key=lambda count: abs(count - counts[-1] / 10))
        return self.memory[counts[-1]] / self.memory[tenth] - 1.0


def soak(places: Places, trials: int) -> Soak:
    """Run so many trials through one service process."""
    part = max(STUDY, trials // _PARTS // STUDY * STUDY)
    memory: dict[int, float] = {}
    seconds = 0.0
    with places.empty() as place:
        token = make_token(place.data, place.database)
        with serving(place.data, place.database) as (service,):
            for done in range(part, trials + 1, part):
                load = Load(
                    urls=[service.url],
                    token=token,
                    warm_seconds=0.0,
                    cycles=part,
                    study_trials=STUDY,
                    name=f"soak-{done}",
                )
                told = drive(load)
                seconds += told["seconds"]
                memory[done] = service.memory()
                print(
                    f"  {done:7,} trials  {memory[done]:6.1f} MB  "
                    f"{part / told['seconds']:6.1f} cycles/s",
                    file=sys.stderr,
                    flush=True,
                )
    return Soak(memory, seconds)
