"""what stands before the blocks of a job's network"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0024"
down_revision: str | None = "0023"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Jobs that are there have no backbone."""
    op.add_column("jobs", sa.Column("backbone", JSON, nullable=True))


def downgrade() -> None:
    """Jobs with a backbone stay, and an earlier release cannot read their specs."""
    op.drop_column("jobs", "backbone")
