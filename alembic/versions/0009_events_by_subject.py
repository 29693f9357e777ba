"""events and deliveries belong to a subject, a job or a dataset, and an owner's events have an order of their own"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.database import UtcTime

revision: str = "0009"
down_revision: str | None = "0008"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
NUMBERED = "owner_number IS NOT NULL"
UNNUMBERED = "owner IS NOT NULL AND owner_number IS NULL"
# What webhooks could be sent before; `study.finished` has never been sent.
FORMER_WEBHOOK_EVENTS = ("job.started", "job.succeeded", "job.failed", "job.cancelled", "job.overfitting")
NEVER_SENT = "study.finished"

DELIVERIES_AT_ONCE = 500
# Columns of a job that its view shows unchanged, and those that it shows in another form.
SAME_IN_VIEW = (
    "id",
    "name",
    "stop_reason",
    "spec",
    "attempt",
    "failures",
    "error",
    "retry_of",
    "study_id",
    "engine",
    "version",
)
TIMES = ("created_at", "queued_at", "started_at", "finished_at")
PROGRESS = ("epoch", "epochs", "eta_s")
SHOWN_REQUESTS = {"cancel": "cancelling", "pause": "pausing"}

# Within a job by number, else by time: `reached` grows with the number even where a clock was set back.
_ORDER = "reached, job_id, id"
_COPY = f"""
INSERT INTO events
    (position, subject_object, subject_id, id, owner, owner_number, type, level, message, data, created_at)
SELECT
    row_number() OVER (ORDER BY {_ORDER}), 'job', job_id, id, owner,
    CASE WHEN owner IS NOT NULL THEN row_number() OVER (PARTITION BY owner ORDER BY {_ORDER}) END,
    type, level, message, data, created_at
FROM (
    SELECT
        e.*, CASE WHEN j.kind = 'train' THEN j.owner END AS owner,
        max(e.created_at) OVER (PARTITION BY e.job_id ORDER BY e.id) AS reached
    FROM former_events AS e JOIN jobs AS j ON j.id = e.job_id
) AS known
"""
_COUNT = """
INSERT INTO owner_streams (owner, last_number)
SELECT owner, max(owner_number) FROM events WHERE owner IS NOT NULL GROUP BY owner
"""
_COPY_BACK = """
INSERT INTO events (job_id, id, type, level, message, data, created_at)
SELECT subject_id, id, type, level, message, data, created_at FROM former_events WHERE subject_object = 'job'
"""


def upgrade() -> None:
    _move_events_away()
    op.create_table(
        "events",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("subject_object", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=True),
        sa.Column("owner_number", sa.BigInteger(), nullable=True),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", Json, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_events")),
    )
    op.create_table(
        "owner_streams",
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("last_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_owner_streams")),
    )
    op.execute(_COPY)
    op.execute(_COUNT)
    op.drop_table("former_events")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "SELECT setval(pg_get_serial_sequence('events', 'position'), greatest(max(position), 1), max(position) > 0)"
            " FROM events"
        )
    op.create_index("uq_events_subject", "events", ["subject_id", "id"], unique=True)
    op.create_index(
        "uq_events_owner",
        "events",
        ["owner", "owner_number"],
        unique=True,
        sqlite_where=sa.text(NUMBERED),
        postgresql_where=sa.text(NUMBERED),
    )
    op.create_index(
        "ix_events_unnumbered",
        "events",
        ["owner", "position"],
        unique=False,
        sqlite_where=sa.text(UNNUMBERED),
        postgresql_where=sa.text(UNNUMBERED),
    )
    op.add_column("datasets", sa.Column("last_event", sa.Integer(), server_default="0", nullable=False))
    op.execute("ALTER TABLE webhook_deliveries RENAME COLUMN subject TO subject_id")
    op.add_column(
        "webhook_deliveries", sa.Column("subject_object", sa.String(length=16), server_default="job", nullable=False)
    )
    _change_payloads(_view_of_job)
    _change_webhooks(lambda name: name != NEVER_SENT)


def downgrade() -> None:
    _move_events_away()
    op.create_table(
        "events",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", Json, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_events_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "id", name=op.f("pk_events")),
    )
    op.execute(_COPY_BACK)
    op.drop_table("former_events")
    op.drop_table("owner_streams")
    op.drop_column("datasets", "last_event")
    # The former release can show and send neither.
    op.execute("DELETE FROM webhook_deliveries WHERE subject_object <> 'job'")
    op.execute("DELETE FROM webhook_deliveries WHERE type IN ('job.paused', 'job.requeued')")
    op.drop_column("webhook_deliveries", "subject_object")
    op.execute("ALTER TABLE webhook_deliveries RENAME COLUMN subject_id TO subject")
    _change_payloads(_columns_of_job)
    _change_webhooks(lambda name: name in FORMER_WEBHOOK_EVENTS)


def _move_events_away() -> None:
    """Make room for a table of the same name. PostgreSQL's indexes share one space of names, SQLite's too."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE events RENAME CONSTRAINT pk_events TO pk_former_events")
        op.execute("ALTER SEQUENCE IF EXISTS events_position_seq RENAME TO former_events_position_seq")
    if "uq_events_subject" in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("events")}:
        for name in ("uq_events_subject", "uq_events_owner", "ix_events_unnumbered"):
            op.drop_index(name, "events")
    op.rename_table("events", "former_events")


def _change_webhooks(keep: Callable[[str], bool]) -> None:
    """Drop names of events from the webhooks that are there. One that has none left is sent nothing, as before."""
    connection = op.get_bind()
    webhooks = sa.table("webhooks", sa.column("id"), sa.column("events", Json))
    for row in connection.execute(sa.select(webhooks.c.id, webhooks.c.events)).all():
        kept = [name for name in row.events if keep(name)]
        if kept != row.events:
            connection.execute(sa.update(webhooks).where(webhooks.c.id == row.id).values(events=kept))


def _change_payloads(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Rewrite the payload of each delivery."""
    connection = op.get_bind()
    deliveries = sa.table("webhook_deliveries", sa.column("id"), sa.column("payload", Json))
    last = ""
    while rows := connection.execute(
        sa.select(deliveries.c.id, deliveries.c.payload)
        .where(deliveries.c.id > last)
        .order_by(deliveries.c.id)
        .limit(DELIVERIES_AT_ONCE)
    ).all():
        last = rows[-1].id
        for row in rows:
            changed = sa.update(deliveries).where(deliveries.c.id == row.id).values(payload=change(row.payload))
            connection.execute(changed)


def _view_of_job(columns: dict[str, Any]) -> dict[str, Any]:
    """The job as clients see it, from the columns of its row and of its dataset's."""
    job, dataset = columns["job"], columns["dataset"]
    view = {name: job[name] for name in SAME_IN_VIEW}
    view |= {name: _rfc3339(job[name]) for name in TIMES}
    view["object"] = "job"
    view["status"] = SHOWN_REQUESTS[job["request"]] if job["request"] else job["status"]
    view["dataset"] = dataset
    view["parameters"] = job["parameters"] or 0
    view["progress"] = {name: job[name] for name in PROGRESS}
    view["summary"] = {"best": None, "gap": None, "verdict": None}  # no one had written one
    return view


def _columns_of_job(view: dict[str, Any]) -> dict[str, Any]:
    """The reverse."""
    requests = {shown: request for request, shown in SHOWN_REQUESTS.items()}
    job = {name: view[name] for name in (*SAME_IN_VIEW, *TIMES, "parameters")} | view["progress"]
    job["request"] = requests.get(view["status"])
    job["status"] = "running" if job["request"] else view["status"]
    job["dataset_id"] = view["dataset"]["id"]
    return {"job": job, "dataset": view["dataset"]}


def _rfc3339(moment: str | None) -> str | None:
    if moment is None:
        return None
    in_utc = datetime.fromisoformat(moment).astimezone(UTC)
    return in_utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
