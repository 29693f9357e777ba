"""owners: their share of the slots, quotas and usage"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.database import UtcTime

revision: str = "0016"
down_revision: str | None = "0015"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
QUEUED = sa.text("status = 'queued'")


def upgrade() -> None:
    """Everybody who has a key or a job gets a row."""
    op.create_table(
        "owners",
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False, server_default="1"),
        sa.Column("used_slot_s", sa.Double(), nullable=False, server_default="0"),
        sa.Column("used_at_s", sa.Double(), nullable=False, server_default="0"),
        sa.Column("turn", sa.Double(), nullable=False, server_default="0"),
        sa.Column("quotas", JSON, nullable=True),
        sa.Column("suspended_at", UtcTime(), nullable=True),
        sa.Column("held_until", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_owners")),
    )
    op.create_index("ix_owners_turn", "owners", ["turn", "owner"])
    op.execute("INSERT INTO owners (owner) SELECT owner FROM api_keys UNION SELECT owner FROM jobs")
    op.create_table(
        "usage",
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("hour", UtcTime(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("slot_s", sa.Double(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("owner", "hour", "kind", "key_id", name=op.f("pk_usage")),
    )
    op.add_column("jobs", sa.Column("key_id", sa.String(length=32), nullable=True))
    op.add_column("jobs", sa.Column("charged_s", sa.Double(), nullable=False, server_default="0"))
    op.drop_index("ix_jobs_claim", "jobs")
    order = ["owner", sa.text("priority DESC"), "queued_at", "id"]
    op.create_index("ix_jobs_claim", "jobs", order, sqlite_where=QUEUED, postgresql_where=QUEUED)


def downgrade() -> None:
    """Shares, quotas and usage are forgotten."""
    op.drop_index("ix_jobs_claim", "jobs")
    order = [sa.text("priority DESC"), "queued_at", "id"]
    op.create_index("ix_jobs_claim", "jobs", order, sqlite_where=QUEUED, postgresql_where=QUEUED)
    op.drop_column("jobs", "charged_s")
    op.drop_column("jobs", "key_id")
    op.drop_table("usage")
    op.drop_table("owners")
