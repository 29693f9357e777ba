"""what a job starts from, and folds"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0013"
down_revision: str | None = "0012"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Jobs that are there start from nothing and have their datasets' splits."""
    for column in ("split_digests", "continues", "initial"):
        op.add_column("jobs", sa.Column(column, JSON, nullable=True))
    op.add_column("label_reads", sa.Column("fold", sa.Integer(), nullable=True))
    op.create_index(
        "ix_label_reads_folds",
        "label_reads",
        ["owner", "dataset_id", "id"],
        sqlite_where=sa.text("fold IS NOT NULL"),
        postgresql_where=sa.text("fold IS NOT NULL"),
    )


def downgrade() -> None:
    """Jobs stay; those that continue others, or start from their weights, start from scratch."""
    op.drop_index("ix_label_reads_folds", "label_reads")
    op.drop_column("label_reads", "fold")
    for column in ("initial", "continues", "split_digests"):
        op.drop_column("jobs", column)
