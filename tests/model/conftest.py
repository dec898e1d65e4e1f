"""Services in this process, two on each kind of database, that the tests of a file share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.model.home import Home
from tests.model.pair import Pair
from tests.model.rows import empty


@pytest.fixture(scope="module")
def homes() -> Iterator[dict[str, Home]]:
    """By database; kept for the file, because building an application takes half a second."""
    built: dict[str, Home] = {}
    yield built
    for home in built.values():
        home.close()


@pytest.fixture
def home(
    backend: str,
    homes: dict[str, Home],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Home:
    """Two services that have just begun, on a database without any rows."""
    if backend not in homes:
        data = tmp_path_factory.mktemp("home")
        url = f"sqlite:///{data / 'srtune.db'}"
        if backend == "sqlite":
            shutil.copy(request.getfixturevalue("sqlite_template"), data / "srtune.db")
        else:
            url = request.getfixturevalue("postgres_migrated")
        homes[backend] = Home.build(url, data)
    home = homes[backend]
    empty(home.engine)
    for replica in home.replicas:
        replica.restart()
    return home


@pytest.fixture
def pair(home: Home) -> Pair:
    """Two services and a worker."""
    return Pair(home.engine, home.replicas)
