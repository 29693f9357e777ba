"""streams of events that are open now, counted for all API processes together"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from models.database import UtcTime

revision: str = "0029"
down_revision: str | None = "0028"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Streams that are open meanwhile are not counted."""
    op.create_table(
        "stream_places",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stream_places")),
    )
    op.create_index(op.f("ix_stream_places_owner"), "stream_places", ["owner"])


def downgrade() -> None:
    """Each process counts by itself."""
    op.drop_table("stream_places")
