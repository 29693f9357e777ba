"""uploaded models number their events"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0023"
down_revision: str | None = "0022"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
NEW_SUBJECTS = ("model", "evaluation")


def upgrade() -> None:
    op.add_column("models", sa.Column("last_event", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    """The former release can send none of the new events; those that were written stay in their owners' streams."""
    op.execute("DELETE FROM webhook_deliveries WHERE subject_object IN ('model', 'evaluation')")
    connection = op.get_bind()
    webhooks = sa.table("webhooks", sa.column("id"), sa.column("events", Json))
    for row in connection.execute(sa.select(webhooks.c.id, webhooks.c.events)).all():
        kept = [name for name in row.events if not name.startswith(tuple(f"{about}." for about in NEW_SUBJECTS))]
        if kept != row.events:
            connection.execute(sa.update(webhooks).where(webhooks.c.id == row.id).values(events=kept))
    op.drop_column("models", "last_event")
