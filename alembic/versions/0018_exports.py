"""models of trainings for other runtimes, each with the report of its proof"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0018"
down_revision: str | None = "0017"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """No model has been exported yet."""
    op.create_table(
        "exports",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("format", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("export_job_id", sa.String(length=40), nullable=False),
        sa.Column("error", Json, nullable=True),
        sa.Column("report", Json, nullable=True),
        sa.Column("key", sa.String(length=256), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_exports_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "format", name=op.f("pk_exports")),
    )


def downgrade() -> None:
    """Files of exports stay in the blob store until `heldout check --deep --collect`; a later upgrade exports again."""
    op.drop_table("exports")
