"""a job's files have rows of their own, and its row a summary of how it went"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0008"
down_revision: str | None = "0007"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

RESULTS_AT_ONCE = 500
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

_jobs = sa.table("jobs", sa.column("id"), sa.column("summary", JSON))
_results = sa.table(
    "results",
    *(sa.column(name) for name in ("job_id", "attempt", "model_key", "predictions_key")),
    sa.column("final", JSON),
)
_attempts = sa.table("attempts", *(sa.column(name) for name in ("job_id", "attempt", "start_epoch")))
_MEASURED = ("validation_loss", "validation_accuracy")
_epochs = sa.table("epochs", *(sa.column(name) for name in ("job_id", "attempt", "epoch", *_MEASURED)))


def upgrade() -> None:
    op.add_column("jobs", sa.Column("summary", JSON, nullable=True))
    artifacts = op.create_table(
        "artifacts",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("format", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_artifacts_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "attempt", "name", "format", name=op.f("pk_artifacts")),
    )
    connection = op.get_bind()
    for rows in _all_results(connection):
        connection.execute(artifacts.insert(), [one for row in rows for one in _artifacts_of(row)])
        summaries = _summaries_of(connection, rows)
        connection.execute(
            sa.update(_jobs).where(_jobs.c.id == sa.bindparam("job")).values(summary=sa.bindparam("found", type_=JSON)),
            [{"job": job_id, "found": summary} for job_id, summary in summaries.items()],
        )
    for column in ("model_key", "predictions_key"):
        op.drop_column("results", column)


def downgrade() -> None:
    with op.batch_alter_table("results") as results:
        for column in ("model_key", "predictions_key"):
            results.add_column(sa.Column(column, sa.String(length=256), nullable=True))
    for column, name, format_ in (("model_key", "model", "keras"), ("predictions_key", "predictions", "npz")):
        op.execute(
            f"UPDATE results SET {column} = (SELECT a.key FROM artifacts AS a WHERE a.job_id = results.job_id"
            f" AND a.attempt = results.attempt AND a.name = '{name}' AND a.format = '{format_}')"
        )
    with op.batch_alter_table("results") as results:
        for column in ("model_key", "predictions_key"):
            results.alter_column(column, existing_type=sa.String(length=256), nullable=False)
    op.drop_table("artifacts")
    op.drop_column("jobs", "summary")


def _all_results(connection: sa.Connection) -> Iterator[Sequence[sa.Row[Any]]]:
    last = ""
    query = sa.select(_results).where(_results.c.job_id > sa.bindparam("last")).order_by(_results.c.job_id)
    while rows := connection.execute(query.limit(RESULTS_AT_ONCE), {"last": last}).all():
        yield rows
        last = rows[-1].job_id


def _artifacts_of(result: sa.Row[Any]) -> Iterator[dict[str, Any]]:
    """Size and digest of a stored file are not known, nor whether a result of the first release has an evaluation."""
    evaluation_key = f"{result.model_key.rpartition('/')[0]}/evaluation.json"
    for name, format_, key in (
        ("model", "keras", result.model_key),
        ("predictions", "npz", result.predictions_key),
        ("evaluation", "json", evaluation_key),
    ):
        yield {"job_id": result.job_id, "attempt": result.attempt, "name": name, "format": format_, "key": key}


def _summaries_of(connection: sa.Connection, results: Sequence[sa.Row[Any]]) -> dict[str, dict[str, Any]]:
    """What tables alone tell of jobs that have succeeded: a verdict needs their files."""
    ids = [row.job_id for row in results]
    starts: dict[str, list[tuple[int, int]]] = {}
    for job_id, attempt, start in connection.execute(
        sa.select(_attempts).where(_attempts.c.job_id.in_(ids), _attempts.c.start_epoch.is_not(None))
    ):
        starts.setdefault(job_id, []).append((attempt, start))
    measured: dict[str, list[Mapping[str, Any]]] = {}
    for row in connection.execute(
        sa.select(_epochs)
        .where(_epochs.c.job_id.in_(ids), _epochs.c.validation_loss.is_not(None))
        .order_by(_epochs.c.epoch)
    ):
        is_hidden = any(later > row.attempt and start < row.epoch for later, start in starts.get(row.job_id, ()))
        if not is_hidden:
            measured.setdefault(row.job_id, []).append(row._mapping)
    return {
        row.job_id: {"best": _best_of(measured.get(row.job_id, ())), "gap": row.final.get("gap"), "verdict": None}
        for row in results
    }


def _best_of(epochs: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    best = min(epochs, key=lambda row: float(row["validation_loss"]), default=None)
    return None if best is None else {name: best[name] for name in ("epoch", *_MEASURED)}
