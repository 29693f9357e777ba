"""which releases can read a job's spec, what fits a worker, and from which size on it reads images from their file"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0022"
down_revision: str | None = "0019"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

QUEUED = sa.text("status = 'queued'")
WHO = ["kind", "device"]
NEEDS = sa.text("coalesce(memory_bytes, 0)")


def upgrade() -> None:
    """Every release can read the specs that are there."""
    op.add_column("jobs", sa.Column("spec_version", sa.Integer(), nullable=False, server_default="1"))
    op.create_index("ix_jobs_waiting", "jobs", [*WHO, NEEDS], sqlite_where=QUEUED, postgresql_where=QUEUED)
    op.create_index("ix_jobs_fitting", "jobs", ["owner", *WHO, NEEDS], sqlite_where=QUEUED, postgresql_where=QUEUED)
    op.add_column("worker_memory", sa.Column("resident_bytes", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """A release that does not look at the version fails the jobs that it cannot read."""
    op.drop_column("worker_memory", "resident_bytes")
    op.drop_index("ix_jobs_fitting", "jobs")
    op.drop_index("ix_jobs_waiting", "jobs")
    op.drop_column("jobs", "spec_version")
