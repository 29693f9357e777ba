"""the ledger: one row for each look at validation or test labels, from the jobs that are there"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from ulid import ULID

from models.database import UtcTime

revision: str = "0011"
down_revision: str | None = "0010"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JOBS_AT_ONCE = 100
Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

_jobs = sa.table(
    "jobs",
    *(sa.column(name) for name in ("id", "kind", "owner", "dataset_id")),
    sa.column("spec", Json),
    sa.column("created_at", UtcTime()),
    sa.column("finished_at", UtcTime()),
)
_datasets = sa.table("datasets", sa.column("id"), sa.column("sha256"))
_epochs = sa.table("epochs", sa.column("job_id"), sa.column("epoch"))
_results = sa.table("results", sa.column("job_id"), sa.column("final", Json))


def upgrade() -> None:
    label_reads = op.create_table(
        "label_reads",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("subject_object", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("split", sa.String(length=16), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("dataset_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_reads")),
    )
    op.create_index("uq_label_reads_once", "label_reads", ["owner", "digest", "subject_id", "epoch"], unique=True)
    op.create_index("ix_label_reads_list", "label_reads", ["owner", "digest", "id"], unique=False)
    connection = op.get_bind()
    for jobs in _trainings(connection):
        if reads := list(_reads_of(connection, jobs)):
            connection.execute(label_reads.insert(), reads)


def downgrade() -> None:
    op.drop_table("label_reads")


def _trainings(connection: sa.Connection) -> Iterator[Sequence[sa.Row[Any]]]:
    last = ""
    query = (
        sa.select(_jobs, _datasets.c.sha256)
        .join(_datasets, _datasets.c.id == _jobs.c.dataset_id)
        .where(_jobs.c.kind == "train", _jobs.c.id > sa.bindparam("last"))
        .order_by(_jobs.c.id)
    )
    while rows := connection.execute(query.limit(JOBS_AT_ONCE), {"last": last}).all():
        yield rows
        last = rows[-1].id


def _reads_of(connection: sa.Connection, jobs: Sequence[sa.Row[Any]]) -> Iterator[dict[str, Any]]:
    """Each epoch that a job has measured once, whichever attempts did, and its kept weights."""
    by_id = {job.id: job for job in jobs}
    reads: set[tuple[str, str, int]] = set()
    for row in connection.execute(sa.select(_epochs).where(_epochs.c.job_id.in_(by_id))):
        reads.add((row.job_id, "validation", row.epoch))
        if (by_id[row.job_id].spec.get("evaluation") or {}).get("test") == "every_epoch":
            reads.add((row.job_id, "test", row.epoch))
    for row in connection.execute(sa.select(_results).where(_results.c.job_id.in_(by_id))):
        reads |= {(row.job_id, split, row.final["epoch"]) for split in ("validation", "test") if row.final.get(split)}
    for job_id, split, epoch in sorted(reads):
        yield _read_of(by_id[job_id], split, epoch)


def _read_of(job: sa.Row[Any], split: str, epoch: int) -> dict[str, Any]:
    moment: datetime = job.finished_at or job.created_at
    return {
        "id": f"read_{ULID.from_datetime(moment)}".lower(),
        "owner": job.owner,
        "digest": f"{job.sha256 or job.dataset_id}:{split}",
        "subject_object": "job",
        "subject_id": job.id,
        "epoch": epoch,
        "split": split,
        "what": "selected" if split == "validation" and _chooses(job.spec["training"]) else "measured",
        "dataset_id": job.dataset_id,
        "created_at": moment,
    }


def _chooses(training: Mapping[str, Any]) -> bool:
    """Whether the job could act on its validation figures."""
    return (
        training.get("early_stopping") is not None
        or training.get("on_overfit") in {"stop", "stop_and_restore"}
        or (training.get("schedule") or {}).get("name") == "reduce_on_plateau"
    )
