"""studies, and which of their trainings a job is"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.database import UtcTime

revision: str = "0014"
down_revision: str | None = "0013"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("error", JSON, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("dataset_id", sa.String(length=40), nullable=False),
        sa.Column("base_job", sa.String(length=40), nullable=True),
        sa.Column("remedies", JSON, nullable=False),
        sa.Column("plan", JSON, nullable=False),
        sa.Column("found", JSON, nullable=False),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("evaluation", sa.String(length=40), nullable=True),
        sa.Column("tested", sa.LargeBinary(), nullable=True),
        sa.Column("test_failed", sa.Text(), nullable=True),
        sa.Column("last_event", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=True),
        sa.Column("finished_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_studies_dataset_id_datasets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
    )
    op.create_index("ix_studies_dataset_id", "studies", ["dataset_id"])
    op.create_index("ix_studies_list", "studies", ["owner", "id"])
    running = sa.text("status = 'running'")
    op.create_index("ix_studies_running", "studies", ["id"], sqlite_where=running, postgresql_where=running)
    op.create_table(
        "study_runs",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("study_id", sa.String(length=40), nullable=False),
        sa.Column("arm", sa.String(length=128), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("fold", sa.Integer(), nullable=False),
        sa.Column("fold_seed", sa.Integer(), nullable=False),
        sa.Column("variant", sa.Integer(), nullable=False),
        sa.Column("scores", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_study_runs_job_id_jobs"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_study_runs_study_id_studies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_study_runs")),
        sa.UniqueConstraint(
            "study_id",
            "arm",
            "purpose",
            "seed",
            "fold",
            "fold_seed",
            "variant",
            name="uq_study_runs_once",
        ),
    )
    of_a_study = sa.text("study_id IS NOT NULL")
    op.create_index("ix_label_reads_subject", "label_reads", ["subject_id", "split"])
    op.create_index("ix_jobs_study", "jobs", ["study_id", "id"], sqlite_where=of_a_study, postgresql_where=of_a_study)


def downgrade() -> None:
    """The jobs of studies stay as jobs of their own."""
    op.drop_index("ix_jobs_study", "jobs")
    op.drop_index("ix_label_reads_subject", "label_reads")
    op.execute("UPDATE jobs SET study_id = NULL WHERE study_id IS NOT NULL")
    op.drop_table("study_runs")
    op.drop_table("studies")
