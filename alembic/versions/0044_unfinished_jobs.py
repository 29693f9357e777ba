"""an index of jobs that have not ended, to count them"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0044"
down_revision: str | None = "0043"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

IS_UNFINISHED = sa.text("finished_at IS NULL")


def upgrade() -> None:
    op.create_index(
        "ix_jobs_unfinished", "jobs", ["kind", "status"], sqlite_where=IS_UNFINISHED, postgresql_where=IS_UNFINISHED
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_unfinished", "jobs")
