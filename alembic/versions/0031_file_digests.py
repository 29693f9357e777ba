"""what datasets' files are, so that damage is noticed when they are read"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0031"
down_revision: str | None = "0030"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Files that are stored already have no row: only their dataset's address says what they were."""
    op.create_table(
        "file_digests",
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("blocks", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_file_digests")),
    )


def downgrade() -> None:
    """Damage is no longer noticed."""
    op.drop_table("file_digests")
