"""studies of trainings that run elsewhere: the result of each, and its sealed test answers"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0036"
down_revision: str | None = "0035"

JSON = sa.JSON().with_variant(JSONB(), "postgresql")

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Such studies have no dataset."""
    with op.batch_alter_table("studies") as studies:
        studies.alter_column("dataset_id", existing_type=sa.String(length=40), nullable=True)
    with op.batch_alter_table("study_runs") as runs:
        runs.add_column(sa.Column("told", JSON, nullable=True))
        runs.add_column(sa.Column("sealed", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Studies of trainings that ran elsewhere are lost, with their runs."""
    op.execute("DELETE FROM jobs WHERE kind = 'external_run'")
    op.execute("DELETE FROM studies WHERE dataset_id IS NULL")
    with op.batch_alter_table("study_runs") as runs:
        runs.drop_column("sealed")
        runs.drop_column("told")
    with op.batch_alter_table("studies") as studies:
        studies.alter_column("dataset_id", existing_type=sa.String(length=40), nullable=False)
