"""models that the operator shares with all owners, with their license and source"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0035"
down_revision: str | None = "0034"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Models that are there belong to their owners."""
    with op.batch_alter_table("models") as models:
        models.alter_column("owner", existing_type=sa.String(length=128), nullable=True)
        models.add_column(sa.Column("license", sa.String(length=200), nullable=True))
        models.add_column(sa.Column("source", sa.String(length=500), nullable=True))


def downgrade() -> None:
    """Shared models are forgotten; their files are orphans, which `heldout check --deep --collect` deletes."""
    op.execute("DELETE FROM models WHERE owner IS NULL")
    with op.batch_alter_table("models") as models:
        models.drop_column("source")
        models.drop_column("license")
        models.alter_column("owner", existing_type=sa.String(length=128), nullable=False)
