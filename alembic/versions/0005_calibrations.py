"""how fast workers' machines train"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.database import UtcTime

revision: str = "0005"
down_revision: str | None = "0004"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.create_table(
        "calibrations",
        sa.Column("host", sa.String(length=128), nullable=False),
        sa.Column("device", sa.String(length=8), nullable=False),
        sa.Column("facts", json, nullable=False),
        sa.Column("speed", json, nullable=False),
        sa.Column("measured_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("host", "device", name=op.f("pk_calibrations")),
    )


def downgrade() -> None:
    op.drop_table("calibrations")
