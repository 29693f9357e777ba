"""datasets that owners upload"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.database import UtcTime

revision: str = "0004"
down_revision: str | None = "0003"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

DISCARDED = sa.text(
    "(deleted_at IS NOT NULL OR status = 'rejected') AND (sha256 IS NOT NULL OR upload_key IS NOT NULL)"
    " OR status = 'ready' AND upload_key IS NOT NULL"
)


def upgrade() -> None:
    # No table is recreated: SQLite cannot reflect an index over an expression, which this one has.
    spec = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("datasets", sa.Column("description", sa.Text(), server_default="", nullable=False))
    op.add_column("datasets", sa.Column("spec", spec, nullable=True))
    op.add_column("datasets", sa.Column("upload_key", sa.String(length=256), nullable=True))
    op.add_column("datasets", sa.Column("upload_sha256", sa.String(length=64), nullable=True))
    op.add_column("datasets", sa.Column("same_as", sa.String(length=40), nullable=True))
    op.add_column("datasets", sa.Column("deleted_at", UtcTime(), nullable=True))
    op.create_index("ix_datasets_discarded", "datasets", ["id"], sqlite_where=DISCARDED, postgresql_where=DISCARDED)


def downgrade() -> None:
    op.drop_index("ix_datasets_discarded", "datasets")
    for column in ("deleted_at", "same_as", "upload_sha256", "upload_key", "spec", "description"):
        op.drop_column("datasets", column)
