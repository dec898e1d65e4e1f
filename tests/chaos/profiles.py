"""How hard: the cut that every `make test` runs, and the long run."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.run import Profile
from tests.chaos.site import Size
from tests.chaos.storm import Plan
from tests.chaos.wire import Weather

#: Times each fault is made in the cut.
_CUT = {
    "server killed": 4,
    "server told to end": 2,
    "server frozen": 2,
    "all servers away, then back": 1,
    "database killed": 2,
    "database stopped immediately": 1,
    "workers killed": 6,
    "workers told to end": 3,
    "workers frozen past their lease": 6,
    "MLflow killed": 1,
    "MLflow frozen": 1,
    "lossy, doubling, reordering wire": 3,
    "doubling wire": 2,
    "answers cut off": 3,
    "requests cut off": 3,
    "network cut (namespace)": 3,
    "clock jumped": 3,
    "disk full": 1,
}
_CUT_SECONDS = 60.0


def cut() -> Profile:
    """Under three minutes on two busy cores."""
    # Two thirds of the time, so that most fit in; what does not is left out.
    plans = {name: Plan(times, 0.67 * _CUT_SECONDS / times) for name, times in _CUT.items()}
    return Profile(
        size=Size(agents=3, threads=3, trainers=2),
        trials=120,
        images=4,
        crowd=64,
        seed_seconds=20.0,
        storm_seconds=_CUT_SECONDS,
        total_seconds=150.0,
        settle_seconds=30.0,
        submit_every=10.0,
        submit_trials=8,
        plans=plans,
    )


def long(*, scale: float = 1.0) -> Profile:
    """Half an hour and more; `scale` multiplies how often every fault is made."""
    times = {
        "server killed": (200, 3.0),
        "server told to end": (40, 15.0),
        "server frozen": (40, 15.0),
        "all servers away, then back": (10, 60.0),
        "database killed": (50, 12.0),
        "database stopped immediately": (20, 30.0),
        "workers killed": (300, 2.0),
        "workers told to end": (60, 10.0),
        "workers frozen past their lease": (300, 2.0),
        "MLflow killed": (10, 60.0),
        "MLflow frozen": (20, 30.0),
        "lossy, doubling, reordering wire": (60, 5.0),
        "doubling wire": (60, 5.0),
        "answers cut off": (200, 3.0),
        "requests cut off": (200, 3.0),
        "network cut (namespace)": (100, 5.0),
        "clock jumped": (100, 6.0),
        "disk full": (15, 45.0),
    }
    return replace(
        cut(),
        size=Size(agents=8, threads=4, trainers=2, lease_seconds=2.0, disk_megabytes=640),
        trials=600,
        images=12,
        seed_seconds=60.0,
        storm_seconds=4 * 3600.0,
        total_seconds=float("inf"),
        settle_seconds=180.0,
        page_seconds=120.0,
        submit_every=6.0,
        submit_trials=12,
        usual=Weather(double=0.6, late=0.04, slow=0.1, delay=1.0),
        repeats=round(50_000 * scale),
        sleeps=0.25,
        plans={
            name: Plan(max(round(count * scale), 1), every)
            for name, (count, every) in times.items()
        },
    )
