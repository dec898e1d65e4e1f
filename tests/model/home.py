"""A database with two services on it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, create_engine

from service.settings import Settings
from tests.model.replica import Replica
from tests.model.scene import LEASE_SECONDS, MAX_ATTEMPTS, vocabulary


@dataclass
class Home:
    """A database with two services, and a door of our own to look at rows and to move time."""

    url: str
    data: Path
    engine: Engine
    replicas: list[Replica]

    @classmethod
    def build(cls, url: str, data: Path) -> Home:
        loop = asyncio.new_event_loop()
        settings = Settings(
            data=data,
            database=url,
            mlflow=False,
            lease_seconds=LEASE_SECONDS,
            max_attempts=MAX_ATTEMPTS,
        )
        replicas = [Replica(loop, settings, vocabulary()) for _ in range(2)]
        return cls(url, data, create_engine(url), replicas)

    def close(self) -> None:
        for replica in self.replicas:
            replica.stop()
        self.engine.dispose()
        self.replicas[0].loop.close()
