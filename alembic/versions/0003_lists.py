"""indexes for lists that are narrowed by dataset or metadata"""

import hashlib
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JOBS_AT_ONCE = 1000


def upgrade() -> None:
    op.create_index("ix_jobs_list_dataset", "jobs", ["owner", "kind", "dataset_id", "id"], unique=False)
    labels = op.create_table(
        "job_labels",
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("pair_sha256", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_labels_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner", "pair_sha256", "job_id", name=op.f("pk_job_labels")),
    )
    op.create_index(op.f("ix_job_labels_job_id"), "job_labels", ["job_id"], unique=False)
    _fill(labels)


def _fill(labels: sa.Table) -> None:
    """Index the metadata of the jobs that are there."""
    connection = op.get_bind()
    jobs = sa.table("jobs", sa.column("id"), sa.column("owner"), sa.column("metadata", sa.JSON()))
    last = ""
    while rows := connection.execute(
        sa.select(jobs.c.id, jobs.c.owner, jobs.c.metadata)
        .where(jobs.c.id > last)
        .order_by(jobs.c.id)
        .limit(JOBS_AT_ONCE)
    ).all():
        last = rows[-1].id
        pairs = [
            {
                "owner": row.owner,
                "pair_sha256": hashlib.sha256(f"{key}\0{value}".encode()).hexdigest(),
                "job_id": row.id,
            }
            for row in rows
            for key, value in row.metadata.items()
        ]
        if pairs:
            connection.execute(labels.insert(), pairs)


def downgrade() -> None:
    op.drop_table("job_labels")
    op.drop_index("ix_jobs_list_dataset", "jobs")
