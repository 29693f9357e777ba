"""what was seen inside the network after an epoch"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from models.tables import Json

revision: str = "0043"
down_revision: str | None = "0042"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("epochs", sa.Column("inside", Json, nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("epochs") as table:
        table.drop_column("inside")
