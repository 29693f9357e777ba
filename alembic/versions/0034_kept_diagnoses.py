"""diagnoses of trainings elsewhere, kept for a page"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from models.database import UtcTime

revision: str = "0034"
down_revision: str | None = "0033"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "diagnoses",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("diagnosis", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
    )
    op.create_index("ix_diagnoses_owner", "diagnoses", ["owner", "id"])


def downgrade() -> None:
    op.drop_table("diagnoses")
