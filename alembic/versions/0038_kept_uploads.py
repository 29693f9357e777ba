"""uploads that were refused for the sizes of their images stay for a while"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from models.database import UtcTime

revision: str = "0038"
down_revision: str | None = "0037"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("datasets", sa.Column("upload_kept_until", UtcTime(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("datasets") as table:
        table.drop_column("upload_kept_until")
