"""The tables of jobs, datasets and what belongs to them. Those of other files can be imported from here, too."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from analysis.jobs.ledger import ReadKind
from heldout.lifecycle.dataset import DatasetStatus, RelationsStatus, SuspectsStatus
from heldout.lifecycle.job import JobRequest, JobStatus
from heldout.stored.artifacts import ArtifactFormat, ArtifactName, ExportFormat, ExportStatus
from heldout.work.kinds import JobKind
from models.digests import FileDigest
from models.table_base import Base as Base
from models.tables_access import ActivityRow as ActivityRow
from models.tables_access import DeliveryRow as DeliveryRow
from models.tables_access import KeyRow as KeyRow
from models.tables_access import SessionRow as SessionRow
from models.tables_access import WebhookRow as WebhookRow
from models.tables_studies import StudyRow as StudyRow
from models.tables_studies import StudyRunRow as StudyRunRow

DISCARDED = (
    "(deleted_at IS NOT NULL OR status = 'rejected') AND (sha256 IS NOT NULL OR upload_key IS NOT NULL)"
    " OR status = 'ready' AND upload_key IS NOT NULL"
)


class DatasetRow(Base):
    """A version of a dataset under its owner's name; `owner` is null for the bundled ones, which are everyone's."""

    __tablename__ = "datasets"
    __table_args__ = (
        Index("uq_datasets_owner_name_version", text("coalesce(owner, '')"), "name", "version", unique=True),
        # What may still lie in the blob store and is of no use to anybody.
        Index(
            "ix_datasets_discarded",
            "id",
            sqlite_where=text(DISCARDED),
            postgresql_where=text(DISCARDED),
        ),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str | None] = mapped_column(String(128))
    name: Mapped[str] = mapped_column(String(128))
    version: Mapped[int]
    description: Mapped[str] = mapped_column(Text, server_default="")
    status: Mapped[DatasetStatus]
    spec: Mapped[dict[str, Any] | None]  # what its owner said about the upload; null for the bundled ones
    upload_key: Mapped[str | None] = mapped_column(String(256))  # where the upload is until its ingest has ended
    upload_sha256: Mapped[str | None] = mapped_column(String(64))
    # Set before the files under this address are stored, and null again once they are not this row's any more.
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    # Of its upload; once that is ingested, of the files that are its own: contact sheets, names, audit, relations.
    beside_bytes: Mapped[int | None] = mapped_column(BigInteger)
    shape: Mapped[list[Any] | None]
    dtype: Mapped[str | None] = mapped_column(String(16))
    value_range: Mapped[list[Any] | None]
    classes: Mapped[list[Any] | None]
    splits: Mapped[dict[str, Any] | None]  # of each: count, per_class, and sha256 of its images and labels
    relations_status: Mapped[RelationsStatus | None]  # null: nobody has asked for its copies and groups
    suspects_status: Mapped[SuspectsStatus | None]  # null: nobody has asked for its suspected labels
    derived_from: Mapped[dict[str, Any] | None]  # `{dataset}`, the version that it was made from; null: an upload
    changes: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)  # of that version; lists do without
    # Positions of pairs of images that somebody has told apart, though they look alike; lists do without.
    different: Mapped[list[Any] | None] = mapped_column(deferred=True)
    error: Mapped[dict[str, Any] | None]
    same_as: Mapped[str | None] = mapped_column(String(40))  # the version that had this content before
    last_event: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]  # the row stays: jobs that have ended name it


OF_A_STUDY = "study_id IS NOT NULL"
HAS_COUNTED_SPEC = text("spec_bytes IS NOT NULL")
HAS_KEEP = "keep_s IS NOT NULL"
IS_QUEUED = text("status = 'queued'")
NEEDED_BYTES = text("coalesce(memory_bytes, 0)")


class JobRow(Base):
    """One piece of background work and who holds it."""

    __tablename__ = "jobs"
    __table_args__ = (
        # The claim's order among the jobs of one owner, and only among those that can be claimed.
        Index(
            "ix_jobs_claim",
            "owner",
            text("priority DESC"),
            "queued_at",
            "id",
            sqlite_where=IS_QUEUED,
            postgresql_where=IS_QUEUED,
        ),
        # By these a worker sees that there is nothing for it, however many jobs wait: of all owners, and of one.
        Index("ix_jobs_waiting", "kind", "device", NEEDED_BYTES, sqlite_where=IS_QUEUED, postgresql_where=IS_QUEUED),
        Index(
            "ix_jobs_fitting",
            "owner",
            "kind",
            "device",
            NEEDED_BYTES,
            sqlite_where=IS_QUEUED,
            postgresql_where=IS_QUEUED,
        ),
        Index(
            "ix_jobs_lease",
            "lease_expires_at",
            sqlite_where=text("status = 'running'"),
            postgresql_where=text("status = 'running'"),
        ),
        Index(
            "ix_jobs_pending",
            "pending_until",
            sqlite_where=IS_QUEUED,
            postgresql_where=IS_QUEUED,
        ),
        Index("ix_jobs_keep", "finished_at", sqlite_where=text(HAS_KEEP), postgresql_where=text(HAS_KEEP)),
        # Lists are newest first, and ids sort by time.
        Index("ix_jobs_list", "owner", "kind", "id"),
        Index("ix_jobs_list_status", "owner", "kind", "status", "id"),
        Index("ix_jobs_list_dataset", "owner", "kind", "dataset_id", "id"),
        Index("ix_jobs_list_name", "owner", "kind", "name", "id"),
        Index("ix_jobs_list_sort_best", "owner", "kind", "sort_best", "id"),
        Index("ix_jobs_list_sort_gap", "owner", "kind", "sort_gap", "id"),
        Index(
            "ix_jobs_spec_bytes",
            "owner",
            "spec_bytes",
            sqlite_where=HAS_COUNTED_SPEC,
            postgresql_where=HAS_COUNTED_SPEC,
        ),
        Index("ix_jobs_study", "study_id", "id", sqlite_where=text(OF_A_STUDY), postgresql_where=text(OF_A_STUDY)),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[JobKind]
    owner: Mapped[str] = mapped_column(String(128))
    name: Mapped[str] = mapped_column(String(128))
    status: Mapped[JobStatus]
    request: Mapped[JobRequest | None]
    stop_reason: Mapped[str | None] = mapped_column(String(16))
    error: Mapped[dict[str, Any] | None]
    version: Mapped[int]

    spec: Mapped[dict[str, Any]]  # of its kind's type, as JSON
    spec_bytes: Mapped[int | None]  # of `spec`, where its owner's quota counts them, see heldout/access/quotas.py
    spec_version: Mapped[int] = mapped_column(server_default="1")  # see heldout/work/kinds.py: who can read it
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    parameters: Mapped[int | None] = mapped_column(BigInteger)
    # `metadata` is taken by SQLAlchemy's own attribute.
    user_metadata: Mapped[dict[str, Any]] = mapped_column("metadata")
    keep_s: Mapped[float | None]  # seconds after its end for which it is kept; null: as long as the settings say
    priority: Mapped[int]
    device: Mapped[str] = mapped_column(String(8))  # auto, cpu, gpu: who may claim it
    gpus: Mapped[int] = mapped_column(server_default="0")  # how many a worker must have free to claim it
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)  # likewise; null: as good as none
    retry_of: Mapped[str | None] = mapped_column(String(40))
    study_id: Mapped[str | None] = mapped_column(String(40))
    key_id: Mapped[str | None] = mapped_column(String(32))  # the API key of the request that made it

    attempt: Mapped[int]  # the fencing token: grows with each claim
    failures: Mapped[int]
    worker: Mapped[str | None] = mapped_column(String(128))
    lease_expires_at: Mapped[datetime | None]
    pending_until: Mapped[datetime | None]  # fails if it is still waiting for its first worker then
    available_at: Mapped[datetime | None]  # not claimed before: backoff after a failure
    announced_at: Mapped[datetime | None]  # when workers were last told of it
    # It is large, and has waited long: this worker lets smaller ones wait for it until then.
    room_on: Mapped[str | None] = mapped_column(String(128))
    room_until: Mapped[datetime | None]
    runtime_s: Mapped[float]  # of the attempts before this one
    charged_s: Mapped[float] = mapped_column(server_default="0")  # of this attempt, to its owner
    engine: Mapped[dict[str, Any] | None]
    epoch: Mapped[int]
    epochs: Mapped[int]
    eta_s: Mapped[float | None]
    last_event: Mapped[int]
    # Best epoch, gap and verdict; written with the end of a training, so that lists need no second look.
    summary: Mapped[dict[str, Any] | None]
    # From the summary, for sorted lists: below any real figure where there is none.
    sort_best: Mapped[float] = mapped_column(server_default="-1")
    sort_gap: Mapped[float] = mapped_column(server_default="-2")
    # SHA-256 of the held-out splits of its own, where it has folds and has begun.
    split_digests: Mapped[dict[str, Any] | None]
    # Where it goes on from, oldest first: who trained which epochs. `[{job, epoch}, …]`, up to and with that epoch.
    continues: Mapped[list[Any] | None]
    # Whose weights it starts from, and which layers take them.
    initial: Mapped[dict[str, Any] | None]
    # The uploaded network before its blocks, as heldout/spec/backbone.py has it.
    backbone: Mapped[dict[str, Any] | None]

    created_at: Mapped[datetime]
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    attempt_started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class JobMetadataRow(Base):
    """A pair of a job's metadata, by which lists find it: the truth is in the job's row."""

    __tablename__ = "job_metadata"

    owner: Mapped[str] = mapped_column(String(128), primary_key=True)
    # A pair itself could be longer than what PostgreSQL indexes.
    pair_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, index=True)


class AttemptRow(Base):
    """One try of a worker at a job, from the epoch that it starts after."""

    __tablename__ = "attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    worker: Mapped[str] = mapped_column(String(128))
    # Whole epochs that it continues from, once it trains; older attempts' rows after them are hidden.
    start_epoch: Mapped[int | None]
    started_at: Mapped[datetime]


class EpochRow(Base):
    """What one attempt measured after one epoch."""

    __tablename__ = "epochs"
    __table_args__ = (
        ForeignKeyConstraint(["job_id", "attempt"], ["attempts.job_id", "attempts.attempt"], ondelete="CASCADE"),
    )

    job_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    train_loss: Mapped[float | None]
    train_accuracy: Mapped[float | None]
    validation_loss: Mapped[float | None]
    validation_accuracy: Mapped[float | None]
    test_loss: Mapped[float | None]
    test_accuracy: Mapped[float | None]
    fit_loss: Mapped[float | None]
    fit_accuracy: Mapped[float | None]
    learning_rate: Mapped[float | None]
    seconds: Mapped[float | None]
    evaluation_seconds: Mapped[float | None]
    images_per_second: Mapped[float | None]


class ResultRow(Base):
    """The figures of the kept weights: one a job, written with its success."""

    __tablename__ = "results"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int]
    final: Mapped[dict[str, Any]]


OF_A_FOLD = "fold IS NOT NULL"


class LabelReadRow(Base):
    """One look of an owner at the labels of a held-out split. Rows stay when jobs and datasets are deleted."""

    __tablename__ = "label_reads"
    __table_args__ = (
        # What counts once: a retry or a repeated request finds its row here.
        Index("uq_label_reads_once", "owner", "digest", "subject_id", "epoch", unique=True),
        Index("ix_label_reads_list", "owner", "digest", "id"),
        Index("ix_label_reads_subject", "subject_id", "split"),
        Index(
            "ix_label_reads_folds",
            "owner",
            "dataset_id",
            "id",
            sqlite_where=text(OF_A_FOLD),
            postgresql_where=text(OF_A_FOLD),
        ),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))
    # SHA-256 of the split's images and labels; see store/label_reads.py where that is not known.
    digest: Mapped[str] = mapped_column(String(80))
    subject_object: Mapped[str] = mapped_column(String(16))  # job, or dataset where labels were handed out
    subject_id: Mapped[str] = mapped_column(String(40))  # its row may be gone
    epoch: Mapped[int]  # of the weights that met the labels; 0 where none did
    split: Mapped[str] = mapped_column(String(16))  # validation, test
    fold: Mapped[int | None]  # from 0, where the images are not the dataset's split but a job's own
    what: Mapped[ReadKind]
    dataset_id: Mapped[str] = mapped_column(String(40))  # its row may be deleted
    created_at: Mapped[datetime]


class ArtifactRow(Base):
    """A file that an attempt has left in the blob store for clients."""

    __tablename__ = "artifacts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[ArtifactName] = mapped_column(primary_key=True)
    format: Mapped[ArtifactFormat] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(256))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)  # null where an earlier release stored it
    sha256: Mapped[str | None] = mapped_column(String(64))  # likewise


class ExportRow(Base):
    """The model of a training, or the ensemble of an evaluation's study, for another runtime: how that went."""

    __tablename__ = "exports"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    format: Mapped[ExportFormat] = mapped_column(primary_key=True)
    status: Mapped[ExportStatus]
    export_job_id: Mapped[str] = mapped_column(String(40))  # the last job that was to write it
    error: Mapped[dict[str, Any] | None]  # code and detail, where it failed
    report: Mapped[dict[str, Any] | None]  # of the proof, where it is stored
    # Of the file, where one is stored: earlier releases stored none with the proof of a `.keras` file.
    key: Mapped[str | None] = mapped_column(String(256))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))

    @property
    def digest(self) -> FileDigest | None:
        """What was stored."""
        return None if self.sha256 is None else FileDigest(self.size_bytes, self.sha256)


class FileDigestRow(Base):
    """What a dataset's file was when it was stored; absent where an earlier release has stored it."""

    __tablename__ = "file_digests"

    key: Mapped[str] = mapped_column(String(256), primary_key=True)  # in the blob store
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    blocks: Mapped[bytes | None]  # see models/digests.py; of a file of which parts are read


class CheckpointRow(Base):
    """A stored state from which a later attempt continues."""

    __tablename__ = "checkpoints"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)  # whole epochs done
    step: Mapped[int] = mapped_column(primary_key=True)  # steps done of the next one
    key: Mapped[str] = mapped_column(String(256))
    created_at: Mapped[datetime]


NUMBERED = "owner_number IS NOT NULL"
UNNUMBERED = "owner IS NOT NULL AND owner_number IS NULL"


class EventRow(Base):
    """Something that happened to its subject, such as a job or a dataset."""

    __tablename__ = "events"
    __table_args__ = (
        Index("uq_events_subject", "subject_id", "id", unique=True),
        Index(
            "uq_events_owner",
            "owner",
            "owner_number",
            unique=True,
            sqlite_where=text(NUMBERED),
            postgresql_where=text(NUMBERED),
        ),
        # Events that wait for their number in their owner's stream.
        Index(
            "ix_events_unnumbered",
            "owner",
            "position",
            sqlite_where=text(UNNUMBERED),
            postgresql_where=text(UNNUMBERED),
        ),
    )

    # The order of writing. It is no cursor: transactions commit in another order.
    position: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    subject_object: Mapped[str] = mapped_column(String(16))  # see heldout/views/event.py
    subject_id: Mapped[str] = mapped_column(String(40))
    id: Mapped[int]  # counts from 1 for each subject
    owner: Mapped[str | None] = mapped_column(String(128))  # null: it is in no owner's stream
    owner_number: Mapped[int | None] = mapped_column(BigInteger)  # given after the commit, see store/owner_events.py
    type: Mapped[str] = mapped_column(String(32))
    level: Mapped[str] = mapped_column(String(8))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class OwnerStreamRow(Base):
    """The number of the last event in an owner's stream: it only grows, also where events are deleted."""

    __tablename__ = "owner_streams"

    owner: Mapped[str] = mapped_column(String(128), primary_key=True)
    last_number: Mapped[int] = mapped_column(BigInteger)


class CalibrationRow(Base):
    """How fast a machine trains, as its worker has measured it; of `gpu`, that a worker there has some, and lives."""

    __tablename__ = "calibrations"

    host: Mapped[str] = mapped_column(String(128), primary_key=True)
    device: Mapped[str] = mapped_column(String(8), primary_key=True)
    facts: Mapped[dict[str, Any]]  # what the figures hold for
    speed: Mapped[dict[str, Any]]
    measured_at: Mapped[datetime]


class WorkerMemoryRow(Base):
    """What a worker has of memory for its jobs, and when it last said so."""

    __tablename__ = "worker_memory"

    worker: Mapped[str] = mapped_column(String(128), primary_key=True)
    memory_bytes: Mapped[int] = mapped_column(BigInteger)
    # Images of one job that take more are read from their file; null: an earlier release has reported.
    resident_bytes: Mapped[int | None] = mapped_column(BigInteger)
    seen_at: Mapped[datetime]


class IdempotencyRow(Base):
    """The answer to a request that bore an Idempotency-Key."""

    __tablename__ = "idempotency_keys"

    owner: Mapped[str] = mapped_column(String(128), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    body: Mapped[dict[str, Any]]
    headers: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(index=True)
