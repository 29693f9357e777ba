"""where a version of a dataset came from, and whether its suspected labels are known"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0012"
down_revision: str | None = "0011"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Existing datasets were uploaded, and no one has requested their suspected labels."""
    op.add_column("datasets", sa.Column("suspects_status", sa.String(length=16), nullable=True))
    op.add_column("datasets", sa.Column("derived_from", JSON, nullable=True))


def downgrade() -> None:
    """Derived versions stay, without where they came from."""
    op.drop_column("datasets", "derived_from")
    op.drop_column("datasets", "suspects_status")
