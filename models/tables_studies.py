"""The tables of studies and of their trainings."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from heldout.lifecycle.resources import StudyStatus
from models.table_base import Base, make_partial_index


class StudyRow(Base):
    """A comparison of remedies, or a learning curve. Its row is locked before jobs are added to it."""

    __tablename__ = "studies"
    __table_args__ = (
        Index("ix_studies_list", "owner", "id"),
        make_partial_index("ix_studies_running", "id", where="status = 'running'"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))
    name: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(16))  # remedies, learning_curve, external, recorded
    status: Mapped[StudyStatus]
    cancel_requested: Mapped[bool]  # a client asked to cancel it, but some of its jobs are still running
    error: Mapped[dict[str, Any] | None]
    version: Mapped[int]
    spec: Mapped[dict[str, Any]]  # of the base
    spec_bytes: Mapped[int | None]  # size of `spec` and `plan`, if the owner's quota counts them
    # Null if its trainings run elsewhere; then `spec` is empty.
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    base_job: Mapped[str | None] = mapped_column(String(40))  # The job whose spec is the base. Its row may be gone.
    remedies: Mapped[list[Any]]  # Their names, as requested or chosen.
    plan: Mapped[dict[str, Any]]  # Fixed at its start, see analysis/studies/stored.py.
    found: Mapped[dict[str, Any]]  # The results so far, in the form of its view.
    user_metadata: Mapped[dict[str, Any]] = mapped_column("metadata")  # of each of its jobs
    priority: Mapped[int]
    evaluation: Mapped[str | None] = mapped_column(String(40))  # the job that measures base and winner on test
    tested: Mapped[bytes | None] = mapped_column(LargeBinary)  # the results of that job, see analysis/studies/stored.py
    test_failed: Mapped[str | None] = mapped_column(Text)  # why there will be no such results
    last_event: Mapped[int]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class StudyRunRow(Base):
    """The training of a study that a job is. Each training has only one job."""

    __tablename__ = "study_runs"
    __table_args__ = (
        UniqueConstraint(
            "study_id", "arm", "purpose", "seed", "fold", "fold_seed", "variant", name="uq_study_runs_once"
        ),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    arm: Mapped[str] = mapped_column(String(128))
    purpose: Mapped[str] = mapped_column(String(16))
    seed: Mapped[int]
    fold: Mapped[int]  # -1 for the dataset's own split, because nulls are not equal in a unique constraint
    fold_seed: Mapped[int]
    variant: Mapped[int]
    scores: Mapped[bytes | None] = mapped_column(LargeBinary)  # of its kept weights, see analysis/studies/stored.py
    # For a training that ran elsewhere: its result (analysis/studies/told.py), and its sealed test answers.
    told: Mapped[dict[str, Any] | None]
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
