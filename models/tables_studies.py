"""The tables of studies: what is compared, and which training of a study a job is."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from heldout.lifecycle.study import StudyStatus
from models.table_base import Base


class StudyRow(Base):
    """A comparison of remedies, or a learning curve. Its row is locked before any of its jobs is added."""

    __tablename__ = "studies"
    __table_args__ = (
        Index("ix_studies_list", "owner", "id"),
        Index(
            "ix_studies_running",
            "id",
            sqlite_where=text("status = 'running'"),
            postgresql_where=text("status = 'running'"),
        ),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))
    name: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(16))  # remedies, learning_curve
    status: Mapped[StudyStatus]
    cancel_requested: Mapped[bool]  # a client asked to cancel it, and some of its jobs still run
    error: Mapped[dict[str, Any] | None]
    version: Mapped[int]
    spec: Mapped[dict[str, Any]]  # of the base
    spec_bytes: Mapped[int | None]  # of `spec` and `plan`, where its owner's quota counts them
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    base_job: Mapped[str | None] = mapped_column(String(40))  # whose spec is the base; its row may be gone
    remedies: Mapped[list[Any]]  # their names, as asked for or chosen
    plan: Mapped[dict[str, Any]]  # what is fixed when it begins, see analysis/studies/stored.py
    found: Mapped[dict[str, Any]]  # what its trainings have shown so far, as its view has it
    user_metadata: Mapped[dict[str, Any]] = mapped_column("metadata")  # of each of its jobs
    priority: Mapped[int]
    evaluation: Mapped[str | None] = mapped_column(String(40))  # the job that measures base and winner on test
    tested: Mapped[bytes | None] = mapped_column(LargeBinary)  # what it has found, see analysis/studies/stored.py
    test_failed: Mapped[str | None] = mapped_column(Text)  # why there will be none
    last_event: Mapped[int]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class StudyRunRow(Base):
    """Which training of a study a job is: there is one job for each, ever."""

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
    fold: Mapped[int]  # -1 where it has the dataset's own split: nulls would not be equal
    fold_seed: Mapped[int]
    variant: Mapped[int]
    scores: Mapped[bytes | None] = mapped_column(LargeBinary)  # of its kept weights, see analysis/studies/stored.py
