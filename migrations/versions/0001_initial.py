"""Studies, trials, attempts, reports, workers, tokens, and answers to repeat."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# States are words: a new one needs no ALTER TYPE, and psql shows what it means.
STATE = sa.String(16)


def upgrade() -> None:
    _study()
    _trial()
    _attempt()
    _report()
    _worker()
    _door()


def downgrade() -> None:
    for table in ("idempotency", "token", "worker", "report", "attempt", "trial", "study"):
        op.drop_table(table)


def _study() -> None:
    op.create_table(
        "study",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("definition", sa.JSON, nullable=False),
        sa.Column("state", STATE, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("started", sa.Double),
        sa.Column("finished", sa.Double),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("clock", sa.BigInteger, nullable=False),
        sa.Column("next_number", sa.Integer, nullable=False),
        sa.Column("seeded", sa.Boolean, nullable=False),
        sa.Column("calibration", sa.JSON),
        sa.Column("start_sha256", sa.String),
        sa.Column("start_size", sa.BigInteger),
        sa.Column("experiment_id", sa.String),
        sa.Column("told_revision", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_study_name", "study", ["name"])
    op.create_index("ix_study_state", "study", ["state"])


def _trial() -> None:
    op.create_table(
        "trial",
        sa.Column("uid", sa.String, primary_key=True),
        sa.Column(
            "study_id",
            sa.String,
            sa.ForeignKey("study.id", name="fk_trial_study_id_study", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("kind", STATE, nullable=False),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("note", sa.String, nullable=False),
        sa.Column("state", STATE, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("seed", sa.Integer, nullable=False),
        sa.Column("coordinates", sa.JSON),
        sa.Column("shares", sa.JSON, nullable=False),
        sa.Column("weights", sa.JSON, nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("steps_per_second", sa.Double, nullable=False),
        sa.Column("train_seconds", sa.Double, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("finished", sa.Double),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("lease_id", sa.String),
        sa.Column("worker_id", sa.String),
        sa.Column("expires", sa.Double),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("not_before", sa.Double, nullable=False),
        sa.Column("leased_clock", sa.BigInteger),
        sa.Column("finished_clock", sa.BigInteger),
        sa.Column("resume_sha256", sa.String),
        sa.Column("resume_size", sa.BigInteger),
        sa.Column("resume_step", sa.Integer),
        sa.Column("weights_sha256", sa.String),
        sa.Column("weights_size", sa.BigInteger),
        sa.Column("run_id", sa.String),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("told_revision", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("study_id", "number", name="uq_trial_study_id_number"),
    )
    op.create_index("ix_trial_study_id", "trial", ["study_id"])
    op.create_index("ix_trial_lease_id", "trial", ["lease_id"])
    op.create_index("ix_trial_queue", "trial", ["state", "study_id", "number"])


def _attempt() -> None:
    op.create_table(
        "attempt",
        _of_trial("attempt"),
        sa.Column("token", sa.BigInteger, primary_key=True),
        sa.Column("lease_id", sa.String, nullable=False),
        sa.Column("worker_id", sa.String, nullable=False),
        sa.Column("started", sa.Double, nullable=False),
        sa.Column("ended", sa.Double),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.UniqueConstraint("lease_id", name="uq_attempt_lease_id"),
    )
    op.create_index("ix_attempt_worker_id", "attempt", ["worker_id"])


def _report() -> None:
    op.create_table(
        "report",
        _of_trial("report"),
        sa.Column("step", sa.Integer, primary_key=True),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )


def _worker() -> None:
    op.create_table(
        "worker",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("host", sa.String, nullable=False),
        sa.Column("devices", sa.JSON, nullable=False),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("state", STATE, nullable=False),
        sa.Column("last_seen", sa.Double, nullable=False),
        sa.UniqueConstraint("name", name="uq_worker_name"),
    )


def _door() -> None:
    op.create_table(
        "token",
        sa.Column("sha256", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double),
        sa.Column("revoked", sa.Boolean, nullable=False),
    )
    op.create_table(
        "idempotency",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("body_sha256", sa.String, nullable=False),
        sa.Column("answer", sa.JSON, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
    )


def _of_trial(table: str) -> sa.Column[str]:
    """The column by which a row belongs to a trial and goes with it."""
    return sa.Column(
        "trial_uid",
        sa.String,
        sa.ForeignKey("trial.uid", name=f"fk_{table}_trial_uid_trial", ondelete="CASCADE"),
        primary_key=True,
    )
