"""how much specs of jobs and studies take, where an owner's quota counts them"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0030"
down_revision: str | None = "0029"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

IS_COUNTED = sa.text("spec_bytes IS NOT NULL")
UNCOUNTED_BYTES = 4096


def upgrade() -> None:
    """Large specs that are there count from now on."""
    for table, columns in (("jobs", ("spec",)), ("studies", ("spec", "plan"))):
        op.add_column(table, sa.Column("spec_bytes", sa.Integer(), nullable=True))
        size = " + ".join(f"length(CAST({column} AS TEXT))" for column in columns)
        op.execute(sa.text(f"UPDATE {table} SET spec_bytes = {size} WHERE {size} > {UNCOUNTED_BYTES}"))
    op.create_index(
        "ix_jobs_spec_bytes", "jobs", ["owner", "spec_bytes"], sqlite_where=IS_COUNTED, postgresql_where=IS_COUNTED
    )


def downgrade() -> None:
    """Specs are not counted."""
    op.drop_index("ix_jobs_spec_bytes", "jobs")
    op.drop_column("studies", "spec_bytes")
    op.drop_column("jobs", "spec_bytes")
