"""What the service reads from its environment; the only reader of it."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Frozen settings; every field is an environment variable `SRTUNE_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="SRTUNE_", frozen=True, extra="ignore")

    data: Path = Field(default=Path("srtune-data"), description="The one data folder.")
    database: str | None = Field(
        default=None, description="PostgreSQL URL; default: SQLite in the data folder."
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
    public_url: str | None = Field(
        default=None, description="How browsers reach this service; for links."
    )

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
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
