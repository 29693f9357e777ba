"""the index of jobs' metadata is named after what it holds: `label` means a class here"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    _rename("job_labels", "job_metadata")


def downgrade() -> None:
    _rename("job_metadata", "job_labels")


def _rename(old: str, new: str) -> None:
    """Copy into a new table, so that its constraints and its index bear the new name too."""
    op.create_table(
        new,
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("pair_sha256", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f(f"fk_{new}_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner", "pair_sha256", "job_id", name=op.f(f"pk_{new}")),
    )
    names = ("owner", "pair_sha256", "job_id")
    rows = sa.select(*(sa.column(name) for name in names)).select_from(sa.table(old))
    op.execute(sa.insert(sa.table(new, *(sa.column(name) for name in names))).from_select(list(names), rows))
    op.drop_table(old)
    op.create_index(op.f(f"ix_{new}_job_id"), new, ["job_id"], unique=False)
