"""how long a job is kept after its end, where its spec says so"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0028"
down_revision: str | None = "0027"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

HAS_KEEP = sa.text("keep_s IS NOT NULL")


def upgrade() -> None:
    """No job that is there has said so."""
    op.add_column("jobs", sa.Column("keep_s", sa.Double(), nullable=True))
    op.create_index("ix_jobs_keep", "jobs", ["finished_at"], sqlite_where=HAS_KEEP, postgresql_where=HAS_KEEP)


def downgrade() -> None:
    """Jobs are kept as the service's settings say."""
    op.drop_index("ix_jobs_keep", "jobs")
    op.drop_column("jobs", "keep_s")
