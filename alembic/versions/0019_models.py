"""models that owners have uploaded"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.database import UtcTime

revision: str = "0019"
down_revision: str | None = "0018"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("check_job", sa.String(length=40), nullable=False),
        sa.Column("facts", Json, nullable=True),
        sa.Column("error", Json, nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
    )
    op.create_index("ix_models_list", "models", ["owner", "id"])


def downgrade() -> None:
    """Uploaded models are forgotten; their files are orphans, which `heldout check --deep --collect` deletes."""
    op.drop_table("models")
