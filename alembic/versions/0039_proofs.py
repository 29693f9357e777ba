"""proofs of verdicts"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from models.database import UtcTime

JSON = sa.JSON().with_variant(JSONB(), "postgresql")

revision: str = "0039"
down_revision: str | None = "0038"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "proofs",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(16), nullable=True),
        sa.Column("is_automatic", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("subject", JSON, nullable=False),
        sa.Column("trials", JSON, nullable=False),
        sa.Column("tried", JSON, nullable=False),
        sa.Column("budget", JSON, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("finished_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_proofs_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_proofs")),
    )
    where = sa.text("status = 'running'")
    op.create_index("ix_proofs_running", "proofs", ["job_id"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_table("proofs")
