"""each kind of job has a spec of its own, and how many GPUs a job needs is a column"""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JOBS_AT_ONCE = 1000

_JOBS = sa.table(
    "jobs",
    sa.column("id", sa.String),
    sa.column("kind", sa.String),
    sa.column("device", sa.String),
    sa.column("gpus", sa.Integer),
    sa.column("spec", sa.JSON),
)


def upgrade() -> None:
    op.add_column("jobs", sa.Column("gpus", sa.Integer(), nullable=False, server_default="0"))
    _rewrite(_JOBS.c.device == "gpu", lambda spec: {"gpus": spec.get("resources", {}).get("gpus", 1)})
    _rewrite(_JOBS.c.kind == "ingest", _with_a_spec_of_its_own)


def downgrade() -> None:
    _rewrite(_JOBS.c.kind == "ingest", _with_the_parts_of_a_training)
    op.drop_column("jobs", "gpus")


def _with_a_spec_of_its_own(spec: dict[str, Any]) -> dict[str, Any]:
    own = {
        "dataset": spec["dataset"],
        "upload": spec["upload"],
        "max_runtime_s": spec["limits"]["max_runtime_s"],
    }
    return {"spec": own, "device": "cpu"}


def _with_the_parts_of_a_training(spec: dict[str, Any]) -> dict[str, Any]:
    old = {
        "dataset": spec["dataset"],
        "upload": spec["upload"],
        "resources": {"device": "auto"},
        "limits": {"max_runtime_s": spec["max_runtime_s"]},
    }
    return {"spec": old, "device": "auto"}


def _rewrite(which: sa.ColumnElement[bool], change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change columns of jobs by what their specs say."""
    connection = op.get_bind()
    last = ""
    while rows := connection.execute(
        sa.select(_JOBS.c.id, _JOBS.c.spec).where(which, _JOBS.c.id > last).order_by(_JOBS.c.id).limit(JOBS_AT_ONCE)
    ).all():
        last = rows[-1].id
        for row in rows:
            connection.execute(_JOBS.update().where(_JOBS.c.id == row.id).values(change(row.spec)))
