"""What the service reads from its environment; the only reader of it."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")


class Settings(BaseSettings):
    """Frozen settings; every field is an environment variable `SRTUNE_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix="SRTUNE_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    data: Path = Field(default=Path("srtune-data"), description="The one data folder.")
    database: str | None = Field(
        default=None,
        repr=False,  # it may hold a password
        description="PostgreSQL URL; default: SQLite in the data folder.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8470, ge=0, le=65535, description="Port to listen on.")
    token: SecretStr | None = Field(
        default=None, description="A bearer token with every scope; needed off loopback."
    )
    lease_seconds: float = Field(default=30.0, gt=0, description="A lease lapses after this.")
    reap_seconds: float = Field(default=2.0, gt=0, description="Time between sweeps.")
    max_attempts: int = Field(default=5, ge=1, description="Attempts before a trial fails.")
    max_blob: int = Field(default=2 * 1024**3, ge=1, description="Bytes of one stored object.")
    mlflow_uri: str | None = Field(
        default=None, description="An MLflow elsewhere; default: our own child process."
    )
    mlflow: bool = Field(default=True, description="Keep the lab book at all.")
    drain_seconds: float = Field(
        default=0.5,
        ge=0,
        le=2,
        description="Told to end, say so in /readyz for so long before nothing new is accepted.",
    )
    public_url: str | None = Field(
        default=None, description="How browsers reach this service; for links."
    )

    hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names under which browsers and programs reach this service, with commas.",
    )
    origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Web pages of other sites that may use this service: https://lab.example.org,...",
    )
    max_body: int = Field(default=1024**2, ge=1, description="Bytes of one JSON body.")
    rate: float = Field(
        default=1000.0,
        ge=0,
        description="Requests per second of one token, or of one address without; 0: no limit. "
        "A worker's calls about its leases count a tenth.",
    )
    guesses: int = Field(
        default=20, ge=0, description="Wrong tokens of one address before it has to wait; 0: never."
    )
    head_seconds: float = Field(
        default=10.0, gt=0, description="A request's head must arrive within this."
    )
    body_seconds: float = Field(
        default=30.0, gt=0, description="A request's body may keep us waiting so long."
    )

    @field_validator("hosts", "origins", mode="before")
    @classmethod
    def _listed(cls, words: object) -> object:
        if isinstance(words, str):
            return tuple(word.strip() for word in words.split(",") if word.strip())
        return words

    @field_validator("origins")
    @classmethod
    def _single_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            # `*` would let every page that somebody here looks at act for them.
            if not re.fullmatch(r"https?://[^/*\s]+", origin):
                raise ValueError(
                    f"{origin} is no origin; write each as https://host or with a port"
                )
        return origins

    @field_validator("database")
    @classmethod
    def _readable(cls, url: str | None) -> str | None:
        # Told apart here, because whoever fails to read it further down would show the password.
        if url is None or url.startswith("sqlite:///"):
            return url
        try:
            parts = urlsplit(url)
            known, _ = parts.scheme in _POSTGRES, parts.port
        except ValueError:
            known = False
        if not known or url.count("@") > 1:
            raise ValueError(
                "it is not written as postgresql://user:password@host:port/name "
                "(an @ in the password as %40)"
            )
        return url

    @field_validator("data")
    @classmethod
    def _absolute(cls, data: Path) -> Path:
        return data.expanduser().resolve()

    @property
    def database_url(self) -> str:
        """SQLAlchemy's URL of the one truth; psycopg 3 for PostgreSQL."""
        if self.database is None:
            return f"sqlite:///{self.data / 'srtune.db'}"
        for prefix in ("postgresql://", "postgres://"):
            if self.database.startswith(prefix):
                return "postgresql+psycopg://" + self.database.removeprefix(prefix)
        return self.database

    @property
    def url(self) -> str:
        """Where people and workers on this machine reach the service."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # nosec B104  # compared
        return self.public_url or f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
