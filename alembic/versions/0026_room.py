"""which worker makes room for a job that is too large to ever fit next to others"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from models.database import UtcTime

revision: str = "0026"
down_revision: str | None = "0024"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """No worker makes room yet."""
    op.add_column("jobs", sa.Column("room_on", sa.String(128), nullable=True))
    op.add_column("jobs", sa.Column("room_until", UtcTime(), nullable=True))


def downgrade() -> None:
    """Large jobs wait until they fit."""
    op.drop_column("jobs", "room_until")
    op.drop_column("jobs", "room_on")
