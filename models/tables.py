"""The tables of jobs, datasets, models and studies, of events, of owners, keys and webhooks, and of workers."""

import enum
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TextClause,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from analysis.jobs.ledger import ReadKind
from heldout.lifecycle.job import JobRequest, JobStatus
from heldout.lifecycle.resources import (
    DatasetStatus,
    ModelStatus,
    ProofStatus,
    RelationsStatus,
    SearchStatus,
    StudyStatus,
)
from heldout.stored.artifacts import ArtifactFormat, ArtifactName, ExportFormat, ExportStatus
from heldout.work.kinds import JobKind
from models.database import UtcTime
from models.digests import FileDigest

Json = JSON().with_variant(JSONB(), "postgresql")


# Stores the values of an enum as text, so that a new member needs no migration.
NamedText = Enum(
    enum.Enum,
    native_enum=False,
    create_constraint=False,
    length=16,
    values_callable=lambda members: [member.value for member in members],
)


def make_partial_index(name: str, *columns: str | TextClause, where: str, unique: bool = False) -> Index:
    """Make an index of only the rows that match a condition."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcTime(),
        dict[str, Any]: Json,
        list[Any]: Json,
        enum.Enum: NamedText,
    }


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
    # For a training that ran elsewhere: its result (analysis/studies/reported_results.py), and its sealed test answers.
    # The column keeps its old name, because processes of the last release read it while they are replaced.
    result: Mapped[dict[str, Any] | None] = mapped_column("told")
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)


class ProofRow(Base):
    """The proof of a job's verdict: short trainings, and what they have shown. A job has one at most."""

    __tablename__ = "proofs"
    __table_args__ = (make_partial_index("ix_proofs_running", "job_id", where="status = 'running'"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))
    status: Mapped[ProofStatus]
    reason: Mapped[str | None] = mapped_column(String(16))  # why it has ended
    is_automatic: Mapped[bool]  # no one asked for it
    version: Mapped[int]
    subject: Mapped[dict[str, Any]]  # what is known of the job, fixed at the start, see heldout/proofs/stored.py
    trials: Mapped[dict[str, Any]]  # by variant: its job, its figures, or why there are none
    tried: Mapped[list[Any]]  # the experiments that have ended, see heldout/proofs/outcomes.py
    budget: Mapped[dict[str, Any]]  # trainings and work that may still be spent
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


DISCARDED = (
    "(deleted_at IS NOT NULL OR status = 'rejected') AND (sha256 IS NOT NULL OR upload_key IS NOT NULL)"
    " OR status = 'ready' AND upload_key IS NOT NULL"
)


class DatasetRow(Base):
    """A version of a dataset. `owner` is null for bundled datasets, which all owners see."""

    __tablename__ = "datasets"
    __table_args__ = (
        Index("uq_datasets_owner_name_version", text("coalesce(owner, '')"), "name", "version", unique=True),
        # Datasets that may have unneeded files in the blob store.
        make_partial_index("ix_datasets_discarded", "id", where=DISCARDED),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str | None] = mapped_column(String(128))
    name: Mapped[str] = mapped_column(String(128))
    version: Mapped[int]
    description: Mapped[str] = mapped_column(Text, server_default="")
    status: Mapped[DatasetStatus]
    spec: Mapped[dict[str, Any] | None]  # the spec of the upload; null for bundled datasets
    upload_key: Mapped[str | None] = mapped_column(String(256))  # the key of the upload until its ingest has ended
    upload_sha256: Mapped[str | None] = mapped_column(String(64))
    # An upload that was refused for the sizes of its images can be read again with one size until then.
    upload_kept_until: Mapped[datetime | None]
    # Set before the files are stored under this address, and null again once they no longer belong to this row.
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    # Size of the upload; after the ingest, size of the dataset's own files: contact sheets, names, audit, relations.
    beside_bytes: Mapped[int | None] = mapped_column(BigInteger)
    shape: Mapped[list[Any] | None]
    dtype: Mapped[str | None] = mapped_column(String(16))
    value_range: Mapped[list[Any] | None]
    classes: Mapped[list[Any] | None]
    splits: Mapped[dict[str, Any] | None]  # For each: count, per_class, and sha256 of its images and labels.
    relations_status: Mapped[RelationsStatus | None]  # Null: its copies and groups were never requested.
    suspects_status: Mapped[SearchStatus | None]  # Null: its suspected labels were never requested.
    features_status: Mapped[SearchStatus | None]  # Null: its features were never requested.
    derived_from: Mapped[dict[str, Any] | None]  # `{dataset}`: the version that it was made from. Null: an upload.
    # The changes to that version. Not loaded in lists.
    changes: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    # Positions of pairs of similar images that were marked as different; not loaded in lists.
    different: Mapped[list[Any] | None] = mapped_column(deferred=True)
    error: Mapped[dict[str, Any] | None]
    same_as: Mapped[str | None] = mapped_column(String(40))  # an earlier version with the same content
    last_event: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]  # the row stays, because jobs that have ended name it


IS_QUEUED = "status = 'queued'"
NEEDED_BYTES = text("coalesce(memory_bytes, 0)")


class JobRow(Base):
    """One piece of background work, and the worker that holds it."""

    __tablename__ = "jobs"
    __table_args__ = (
        # The order in which one owner's queued jobs are claimed.
        make_partial_index("ix_jobs_claim", "owner", text("priority DESC"), "queued_at", "id", where=IS_QUEUED),
        # Let a worker find out quickly that no job fits, of any owner and of one owner, however many jobs wait.
        make_partial_index("ix_jobs_waiting", "kind", "device", NEEDED_BYTES, where=IS_QUEUED),
        make_partial_index("ix_jobs_fitting", "owner", "kind", "device", NEEDED_BYTES, where=IS_QUEUED),
        make_partial_index("ix_jobs_lease", "lease_expires_at", where="status = 'running'"),
        make_partial_index("ix_jobs_pending", "pending_until", where=IS_QUEUED),
        make_partial_index("ix_jobs_keep", "finished_at", where="keep_s IS NOT NULL"),
        make_partial_index("ix_jobs_ended", "finished_at", where="study_id IS NULL AND finished_at IS NOT NULL"),
        make_partial_index("ix_jobs_unfinished", "kind", "status", where="finished_at IS NULL"),
        # Lists are newest first, and ids sort by time.
        Index("ix_jobs_list", "owner", "kind", "id"),
        Index("ix_jobs_list_status", "owner", "kind", "status", "id"),
        Index("ix_jobs_list_dataset", "owner", "kind", "dataset_id", "id"),
        Index("ix_jobs_list_name", "owner", "kind", "name", "id"),
        Index("ix_jobs_list_sort_best", "owner", "kind", "sort_best", "id"),
        Index("ix_jobs_list_sort_gap", "owner", "kind", "sort_gap", "id"),
        make_partial_index("ix_jobs_spec_bytes", "owner", "spec_bytes", where="spec_bytes IS NOT NULL"),
        make_partial_index("ix_jobs_study", "study_id", "id", where="study_id IS NOT NULL"),
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

    spec: Mapped[dict[str, Any]]  # a spec of its kind, as JSON
    spec_bytes: Mapped[int | None]  # size of `spec`, if the owner's quota counts it, see heldout/access/rights.py
    # Which releases can read it, see heldout/work/kinds.py.
    spec_version: Mapped[int] = mapped_column(server_default="1")
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    parameters: Mapped[int | None] = mapped_column(BigInteger)
    # SQLAlchemy already uses the attribute `metadata`.
    user_metadata: Mapped[dict[str, Any]] = mapped_column("metadata")
    keep_s: Mapped[float | None]  # seconds to keep it after its end; null: as the settings say
    priority: Mapped[int]
    device: Mapped[str] = mapped_column(String(8))  # auto, cpu, gpu: the workers that may claim it
    gpus: Mapped[int] = mapped_column(server_default="0")  # the free GPUs that a worker needs to claim it
    # The free memory that a worker needs. Null: almost none.
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    retry_of: Mapped[str | None] = mapped_column(String(40))
    study_id: Mapped[str | None] = mapped_column(String(40))
    key_id: Mapped[str | None] = mapped_column(String(32))  # the API key of the request that created it

    attempt: Mapped[int]  # the fencing token, which grows with each claim
    failures: Mapped[int]
    worker: Mapped[str | None] = mapped_column(String(128))
    lease_expires_at: Mapped[datetime | None]
    pending_until: Mapped[datetime | None]  # It fails if no worker has claimed it by then.
    available_at: Mapped[datetime | None]  # It is not claimed before this time: backoff after a failure.
    announced_at: Mapped[datetime | None]  # When workers were last notified.
    # This worker holds back smaller jobs until then, because this job is large and has waited long.
    room_on: Mapped[str | None] = mapped_column(String(128))
    room_until: Mapped[datetime | None]
    runtime_s: Mapped[float]  # of earlier attempts
    charged_s: Mapped[float] = mapped_column(server_default="0")  # charged to the owner for this attempt
    engine: Mapped[dict[str, Any] | None]
    epoch: Mapped[int]
    epochs: Mapped[int]
    eta_s: Mapped[float | None]
    last_event: Mapped[int]
    # Best epoch, gap and verdict, written at the end of a training, so that lists need no further queries.
    summary: Mapped[dict[str, Any] | None]
    # From the summary, for sorted lists. Lower than any real figure if there is none.
    sort_best: Mapped[float] = mapped_column(server_default="-1")
    sort_gap: Mapped[float] = mapped_column(server_default="-2")
    # SHA-256 of its own held-out splits, if it has folds and has started.
    split_digests: Mapped[dict[str, Any] | None]
    # The jobs that it continues, oldest first, each with the last epoch that it trained: `[{job, epoch}, …]`.
    continues: Mapped[list[Any] | None]
    # The source of its first weights, and the layers that take them.
    initial: Mapped[dict[str, Any] | None]
    # The uploaded network before its blocks, see heldout/spec/backbone.py.
    backbone: Mapped[dict[str, Any] | None]

    created_at: Mapped[datetime]
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    attempt_started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class JobMetadataRow(Base):
    """A pair of a job's metadata, for finding the job. The job's row is authoritative."""

    __tablename__ = "job_metadata"

    owner: Mapped[str] = mapped_column(String(128), primary_key=True)
    # A pair itself may be too long for an index of PostgreSQL.
    pair_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, index=True)


class AttemptRow(Base):
    """One attempt of a worker at a job."""

    __tablename__ = "attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    worker: Mapped[str] = mapped_column(String(128))
    # The completed epochs that it continues from, once it trains. Hides older attempts' rows after them.
    start_epoch: Mapped[int | None]
    started_at: Mapped[datetime]


class EpochRow(Base):
    """The measurements of one attempt after one epoch."""

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
    validation_objective: Mapped[float | None]
    test_loss: Mapped[float | None]
    test_accuracy: Mapped[float | None]
    fit_loss: Mapped[float | None]
    fit_accuracy: Mapped[float | None]
    learning_rate: Mapped[float | None]
    seconds: Mapped[float | None]
    evaluation_seconds: Mapped[float | None]
    images_per_second: Mapped[float | None]
    inside: Mapped[dict[str, Any] | None]  # an `EpochInside`; null after epochs without a look


class ResultRow(Base):
    """The figures of the kept weights, one row per successful job."""

    __tablename__ = "results"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int]
    final: Mapped[dict[str, Any]]


class LabelReadRow(Base):
    """An owner's look at the labels of a held-out split. Rows stay when jobs and datasets are deleted."""

    __tablename__ = "label_reads"
    __table_args__ = (
        # Makes retries and repeated requests count once.
        Index("uq_label_reads_once", "owner", "digest", "subject_id", "epoch", unique=True),
        Index("ix_label_reads_list", "owner", "digest", "id"),
        Index("ix_label_reads_subject", "subject_id", "split"),
        make_partial_index("ix_label_reads_folds", "owner", "dataset_id", "id", where="fold IS NOT NULL"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))
    # SHA-256 of the split's images and labels, or its stand-in, see store/label_reads.py.
    digest: Mapped[str] = mapped_column(String(80))
    subject_object: Mapped[str] = mapped_column(String(16))  # Job, model, or dataset if labels were shown.
    subject_id: Mapped[str] = mapped_column(String(40))  # Its row may be gone.
    epoch: Mapped[int]  # The epoch of the measured weights. 0 without weights.
    split: Mapped[str] = mapped_column(String(16))  # validation, test
    fold: Mapped[int | None]  # from 0, if the images are a job's own fold
    what: Mapped[ReadKind]
    dataset_id: Mapped[str] = mapped_column(String(40))  # its row may be deleted
    created_at: Mapped[datetime]


class _StoredFile:
    """The columns of a stored file's digest. Null if an earlier release stored it."""

    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))

    @property
    def digest(self) -> FileDigest | None:
        """The digest of the stored file."""
        return None if self.sha256 is None else FileDigest(self.size_bytes, self.sha256)


class ArtifactRow(_StoredFile, Base):
    """A file that an attempt has stored for clients."""

    __tablename__ = "artifacts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[ArtifactName] = mapped_column(primary_key=True)
    format: Mapped[ArtifactFormat] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(256))


class ExportRow(_StoredFile, Base):
    """The export of a training's model, or of the ensemble of an evaluation's study."""

    __tablename__ = "exports"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    format: Mapped[ExportFormat] = mapped_column(primary_key=True)
    status: Mapped[ExportStatus]
    export_job_id: Mapped[str] = mapped_column(String(40))  # the last job that was queued to write it
    error: Mapped[dict[str, Any] | None]  # code and detail, if it failed
    report: Mapped[dict[str, Any] | None]  # of the check, if it is stored
    # The stored file, if any. Earlier releases stored none with the check of a `.keras` file.
    key: Mapped[str | None] = mapped_column(String(256))


class FileDigestRow(Base):
    """The digest of a dataset's file. Absent if an earlier release stored the file."""

    __tablename__ = "file_digests"

    key: Mapped[str] = mapped_column(String(256), primary_key=True)  # in the blob store
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    blocks: Mapped[bytes | None]  # for a file that is read in part, see models/digests.py


class CheckpointRow(Base):
    """A stored state that a later attempt can continue from."""

    __tablename__ = "checkpoints"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)  # completed epochs
    step: Mapped[int] = mapped_column(primary_key=True)  # completed steps of the next epoch
    key: Mapped[str] = mapped_column(String(256))
    created_at: Mapped[datetime]


UNNUMBERED = "owner IS NOT NULL AND owner_number IS NULL"


class EventRow(Base):
    """Something that happened to its subject, such as a job or a dataset."""

    __tablename__ = "events"
    __table_args__ = (
        Index("uq_events_subject", "subject_id", "id", unique=True),
        make_partial_index("uq_events_owner", "owner", "owner_number", unique=True, where="owner_number IS NOT NULL"),
        # Events that have no number in their owner's stream yet.
        make_partial_index("ix_events_unnumbered", "owner", "position", where=UNNUMBERED),
    )

    # The write order. Not usable as a cursor, because transactions commit in another order.
    position: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    subject_object: Mapped[str] = mapped_column(String(16))  # see heldout/views/account.py
    subject_id: Mapped[str] = mapped_column(String(40))
    id: Mapped[int]  # from 1 for each subject
    owner: Mapped[str | None] = mapped_column(String(128))  # null: not in any owner's stream
    owner_number: Mapped[int | None] = mapped_column(BigInteger)  # assigned after the commit, see store/owner_events.py
    type: Mapped[str] = mapped_column(String(32))
    level: Mapped[str] = mapped_column(String(8))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class OwnerStreamRow(Base):
    """The number of the last event in an owner's stream. It only grows, even if events are deleted."""

    __tablename__ = "owner_streams"

    owner: Mapped[str] = mapped_column(String(128), primary_key=True)
    last_number: Mapped[int] = mapped_column(BigInteger)


class CalibrationRow(Base):
    """A machine's training speed, as measured by its worker. For `gpu`: the GPUs of its live worker."""

    __tablename__ = "calibrations"

    host: Mapped[str] = mapped_column(String(128), primary_key=True)
    device: Mapped[str] = mapped_column(String(8), primary_key=True)
    facts: Mapped[dict[str, Any]]  # what the figures were measured for
    speed: Mapped[dict[str, Any]]
    measured_at: Mapped[datetime]


class WorkerMemoryRow(Base):
    """A worker's memory for jobs, and when it last reported it."""

    __tablename__ = "worker_memory"

    worker: Mapped[str] = mapped_column(String(128), primary_key=True)
    memory_bytes: Mapped[int] = mapped_column(BigInteger)
    # A job's images that take more are read from their file. Null: reported by an earlier release.
    resident_bytes: Mapped[int | None] = mapped_column(BigInteger)
    seen_at: Mapped[datetime]


class IdempotencyRow(Base):
    """The answer to a request with an Idempotency-Key."""

    __tablename__ = "idempotency_keys"

    owner: Mapped[str] = mapped_column(String(128), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    body: Mapped[dict[str, Any]]
    headers: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(index=True)


ALL_SCOPES = '["read", "write", "admin"]'


class KeyRow(Base):
    """An API key. Only a hash of its secret is stored."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128), index=True)
    secret_sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[Any]] = mapped_column(server_default=text(f"'{ALL_SCOPES}'"))
    made_by: Mapped[str | None] = mapped_column(String(32))  # the key that created it; null: the operator
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]  # written some seconds later
    revoked_at: Mapped[datetime | None]


class ActivityRow(Base):
    """Who did what to what, from where. Triggers prevent changes, and deletions within a day."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_list", "owner", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))  # the owner of the changed thing
    key_id: Mapped[str | None] = mapped_column(String(32))  # null: the operator, with a command
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str | None] = mapped_column(String(160))
    address: Mapped[str | None] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(index=True)


class SessionRow(Base):
    """A browser's session, or a link to log in with. Only a hash of its secret is stored."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    secret_sha256: Mapped[str] = mapped_column(String(64))
    is_link: Mapped[bool]  # valid for one log-in, which creates a separate session
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class WebhookRow(Base):
    """An address that an owner's events are sent to. Secrets are encrypted by `models/secret_box.py`."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128), index=True)
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[Any]]
    enabled: Mapped[bool]
    disabled_reason: Mapped[str | None] = mapped_column(String(128))
    secret: Mapped[str] = mapped_column(Text)
    previous_secret: Mapped[str | None] = mapped_column(Text)
    previous_until: Mapped[datetime | None]  # until then, the previous secret also signs
    made_by: Mapped[str | None] = mapped_column(String(32))  # the key that created it
    failures: Mapped[int] = mapped_column(server_default="0")  # failed attempts since the last success
    failing_since: Mapped[datetime | None]  # time of the first of them
    last_event: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime]


class DeliveryRow(Base):
    """One event for one webhook: part of the outbox while it is pending, and of the log afterwards."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        make_partial_index("ix_webhook_deliveries_due", "due_at", where="status = 'pending'"),
        Index("ix_webhook_deliveries_list", "webhook_id", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(32))
    subject_object: Mapped[str] = mapped_column(String(16))  # see heldout/views/account.py
    subject_id: Mapped[str] = mapped_column(String(40))  # its row may be gone
    payload: Mapped[dict[str, Any]]  # the subject's view at the time of the event
    status: Mapped[str] = mapped_column(String(16))  # pending, delivered, failed
    attempts: Mapped[int]  # since it was last requested
    fence: Mapped[int]  # grows with each claim
    log: Mapped[list[Any]]
    due_at: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class OwnerRow(Base):
    """One owner of keys, jobs and datasets. Transactions lock its row last, and so only briefly."""

    __tablename__ = "owners"
    # The order of owners' turns.
    __table_args__ = (Index("ix_owners_turn", "turn", "owner"),)

    owner: Mapped[str] = mapped_column(String(128), primary_key=True)
    weight: Mapped[float] = mapped_column(server_default="1")
    # Recent usage, see analysis/scheduling/fair_share.py.
    used_slot_s: Mapped[float] = mapped_column(server_default="0")
    used_at_s: Mapped[float] = mapped_column(server_default="0")  # when used_slot_s was computed, in seconds since 1970
    turn: Mapped[float] = mapped_column(server_default="0")
    quotas: Mapped[dict[str, Any] | None]  # those that differ from the settings'; a null value means no bound
    suspended_at: Mapped[datetime | None]
    held_until: Mapped[datetime | None]  # no job is claimed before then: its slot-seconds of the day are used up


class UsageRow(Base):
    """The usage in one hour by jobs of one kind that were created with one key."""

    __tablename__ = "usage"

    owner: Mapped[str] = mapped_column(String(128), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)  # the start of the hour
    kind: Mapped[JobKind] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(String(32), primary_key=True)  # empty: not created by a request
    jobs: Mapped[int] = mapped_column(server_default="0")  # jobs run
    slot_s: Mapped[float] = mapped_column(server_default="0")


class _Place:
    """The columns of a place. It counts until `expires_at`, which its API process extends."""

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128), index=True)
    expires_at: Mapped[datetime]


class UploadPlaceRow(_Place, Base):
    """An upload that an API process is receiving."""

    __tablename__ = "upload_places"


class StreamPlaceRow(_Place, Base):
    """A stream of events that an API process has open."""

    __tablename__ = "stream_places"


class ModelRow(Base):
    """An uploaded model and the facts from its file. A deleted model has no row.

    `owner` is null for models that the operator shares with all owners; these have a license and a source.
    """

    __tablename__ = "models"
    __table_args__ = (Index("ix_models_list", "owner", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str | None] = mapped_column(String(128))
    name: Mapped[str] = mapped_column(String(128))
    license: Mapped[str | None] = mapped_column(String(200))
    source: Mapped[str | None] = mapped_column(String(500))
    status: Mapped[ModelStatus]
    key: Mapped[str] = mapped_column(String(256))  # its file's key, until it is rejected
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    check_job: Mapped[str] = mapped_column(String(40))  # the job that checks it; its row may be gone
    facts: Mapped[dict[str, Any] | None]  # see heldout/spec/model_facts.py
    # See heldout/spec/model_facts.py. Not loaded in lists.
    layers: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    onnx: Mapped[dict[str, Any] | None]  # key, digest and size of the same model as ONNX, if it was converted
    error: Mapped[dict[str, Any] | None]
    last_event: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime]


class DiagnosisRow(Base):
    """A diagnosis of a training that this service did not run, kept for a page that shows it."""

    __tablename__ = "diagnoses"
    __table_args__ = (Index("ix_diagnoses_owner", "owner", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))
    diagnosis: Mapped[dict[str, Any]]  # as in heldout/views/diagnosis.py
    created_at: Mapped[datetime]
