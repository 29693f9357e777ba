"""an index of jobs by their end, to find those that have expired"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0037"
down_revision: str | None = "0036"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

HAS_ENDED = sa.text("study_id IS NULL AND finished_at IS NOT NULL")


def upgrade() -> None:
    op.create_index("ix_jobs_ended", "jobs", ["finished_at"], sqlite_where=HAS_ENDED, postgresql_where=HAS_ENDED)


def downgrade() -> None:
    op.drop_index("ix_jobs_ended", "jobs")
