"""Owners, quotas, fair share, counts kept per study, causes of failure, and the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _add(
        "study",
        sa.Column("owner", sa.String, nullable=False, server_default="local"),
        sa.Column("weight", sa.Double, nullable=False, server_default="1"),
        sa.Column("searched", sa.Integer, nullable=False, server_default="0"),
        sa.Column("unfinished", sa.Integer, nullable=False, server_default="0"),
        sa.Column("running", sa.Integer, nullable=False, server_default="0"),
        sa.Column("interrupted", sa.Integer, nullable=False, server_default="0"),
        sa.Column("device_seconds", sa.Double, nullable=False, server_default="0"),
        sa.Column("attempts_ended", sa.Integer, nullable=False, server_default="0"),
        sa.Column("fair_start", sa.Double, nullable=False, server_default="0"),
        sa.Column("fair_end", sa.Double, nullable=False, server_default="0"),
    )
    op.create_index("ix_study_owner", "study", ["owner"])
    _add("trial", sa.Column("proposed_clock", sa.BigInteger))
    op.create_index("ix_trial_news", "trial", ["study_id", "revision"])
    op.create_index("ix_trial_run_id", "trial", ["run_id"])
    _add(
        "attempt",
        sa.Column("request", sa.String),
        sa.Column("together", sa.Integer, nullable=False, server_default="1"),
        sa.Column("resumed_step", sa.Integer, nullable=False, server_default="0"),
        sa.Column("cause", sa.String),
    )
    op.create_index("ix_attempt_request", "attempt", ["request"])
    _add(
        "report",
        sa.Column("study_id", sa.String, nullable=False, server_default=""),
        sa.Column("revision", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.create_index("ix_report_news", "report", ["study_id", "revision"])
    _add(
        "worker",
        sa.Column("reason", sa.String, nullable=False, server_default=""),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("token_id", sa.String),
    )
    _tokens()
    with op.batch_alter_table("idempotency") as table:
        table.alter_column("answer", existing_type=sa.JSON, nullable=True)
    _tables()
    _count()


def downgrade() -> None:
    for name in ("audit", "owner", "fit"):
        op.drop_table(name)
    op.execute("DELETE FROM idempotency WHERE answer IS NULL")
    with op.batch_alter_table("idempotency") as table:
        table.alter_column("answer", existing_type=sa.JSON, nullable=False)
    _drop("token", "last_used", "owner", "id")
    _drop("worker", "token_id", "failures", "reason")
    op.drop_index("ix_report_news", "report")
    _drop("report", "revision", "study_id")
    op.drop_index("ix_attempt_request", "attempt")
    _drop("attempt", "cause", "resumed_step", "together", "request")
    op.drop_index("ix_trial_run_id", "trial")
    op.drop_index("ix_trial_news", "trial")
    _drop("trial", "proposed_clock")
    op.drop_index("ix_study_owner", "study")
    _drop(
        "study",
        "fair_end",
        "fair_start",
        "attempts_ended",
        "device_seconds",
        "interrupted",
        "running",
        "unfinished",
        "searched",
        "weight",
        "owner",
    )


def _add(table: str, *columns: sa.Column[object]) -> None:
    for column in columns:
        op.add_column(table, column)


def _drop(table: str, *columns: str) -> None:
    # A batch, because SQLite cannot drop a column that a constraint names.
    with op.batch_alter_table(table) as batch:
        for column in columns:
            if (table, column) == ("token", "id"):
                batch.drop_constraint("uq_token_id", type_="unique")
            batch.drop_column(column)


def _tokens() -> None:
    _add(
        "token",
        sa.Column("id", sa.String),
        sa.Column("owner", sa.String, nullable=False, server_default="local"),
        sa.Column("last_used", sa.Double),
    )
    # The digest's beginning tells nobody the secret, and is as unique as the digest for our numbers.
    op.execute("UPDATE token SET id = 't' || substr(sha256, 1, 12)")
    with op.batch_alter_table("token") as table:
        table.alter_column("id", existing_type=sa.String, nullable=False)
        table.create_unique_constraint("uq_token_id", ["id"])


def _tables() -> None:
    op.create_table(
        "fit",
        sa.Column("study_id", sa.String, primary_key=True),
        sa.Column("device", sa.String, primary_key=True),
        sa.Column("trials", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], ondelete="CASCADE"),
    )
    op.create_table(
        "owner",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("weight", sa.Double, nullable=False),
        sa.Column("max_running", sa.Integer),
        sa.Column("gpu_hours", sa.Double),
        sa.Column("deleted_seconds", sa.Double, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("detail", sa.String, nullable=False),
        sa.Column("request_id", sa.String, nullable=False),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_index("ix_audit_subject", "audit", ["subject"])


def _count() -> None:
    """Counts of studies that are there already; attempts under way count when they end."""
    trials = "SELECT count(*) FROM trial WHERE trial.study_id = study.id"
    attempts = (
        "FROM attempt JOIN trial ON trial.uid = attempt.trial_uid "
        "WHERE trial.study_id = study.id AND attempt.ended IS NOT NULL"
    )
    op.execute(
        f"UPDATE study SET searched = ({trials} AND kind = 'search'), "  # nosec B608  # constants
        f"unfinished = ({trials} AND state IN ('queued', 'leased')), "
        f"running = ({trials} AND state = 'leased'), "
        f"interrupted = ({trials} AND state = 'queued' AND token > 0), "
        f"attempts_ended = (SELECT count(*) {attempts}), "
        f"device_seconds = (SELECT coalesce(sum(attempt.ended - attempt.started), 0) {attempts})"
    )
    op.execute(
        "UPDATE report SET study_id = "
        "(SELECT trial.study_id FROM trial WHERE trial.uid = report.trial_uid)"
    )
