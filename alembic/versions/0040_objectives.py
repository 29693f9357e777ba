"""epochs have the figure of their job's objective"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0040"
down_revision: str | None = "0039"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("epochs", sa.Column("validation_objective", sa.Double(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("epochs") as table:
        table.drop_column("validation_objective")
