"""whether the copies and groups of a dataset are known"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

RELATE_JOBS = "SELECT id FROM jobs WHERE kind = 'relate'"


def upgrade() -> None:
    """Datasets that are there have none: the reconciler queues the jobs that find them."""
    op.add_column("datasets", sa.Column("relations_status", sa.String(length=16), nullable=True))


def downgrade() -> None:
    """The former release does not know the kind of these jobs. What it does not know of `splits` it passes over."""
    for table, column in (("events", "subject_id"), ("attempts", "job_id")):
        op.execute(f"DELETE FROM {table} WHERE {column} IN ({RELATE_JOBS})")
    op.execute("DELETE FROM jobs WHERE kind = 'relate'")
    op.drop_column("datasets", "relations_status")
