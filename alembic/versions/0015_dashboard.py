"""sessions of browsers, and what sorted lists of jobs are sorted by"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from models.database import UtcTime

revision: str = "0015"
down_revision: str | None = "0014"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FIGURES = {
    "sqlite": "json_extract(summary, '$.{0}')",
    "postgresql": "(summary #>> '{{{1}}}')::double precision",
}


def upgrade() -> None:
    """Jobs that have ended get their places in sorted lists from their summaries."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("is_link", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_sessions_key_id_api_keys")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.add_column("jobs", sa.Column("sort_best", sa.Double(), nullable=False, server_default="-1"))
    op.add_column("jobs", sa.Column("sort_gap", sa.Double(), nullable=False, server_default="-2"))
    best = _figure("best", "validation_accuracy")
    gap = f"{_figure('gap', 'test', 'accuracy')}, {_figure('gap', 'validation', 'accuracy')}"
    op.execute(
        f"UPDATE jobs SET sort_best = coalesce({best}, -1), sort_gap = coalesce({gap}, -2) WHERE summary IS NOT NULL"
    )
    for name in ("name", "sort_best", "sort_gap"):
        op.create_index(f"ix_jobs_list_{name}", "jobs", ["owner", "kind", name, "id"])


def downgrade() -> None:
    """Who is logged in has to log in again."""
    for name in ("sort_gap", "sort_best", "name"):
        op.drop_index(f"ix_jobs_list_{name}", "jobs")
    op.drop_column("jobs", "sort_gap")
    op.drop_column("jobs", "sort_best")
    op.drop_table("sessions")


def _figure(*path: str) -> str:
    return FIGURES[op.get_bind().dialect.name].format(".".join(path), ",".join(path))
