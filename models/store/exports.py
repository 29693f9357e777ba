"""Models of trainings for other runtimes: who is to write one, and what became of it."""

from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from heldout.errors import JobNotFound
from heldout.kinds import ExportSpec, JobKind
from heldout.lifecycle import JobStatus
from heldout.memory import export_bytes
from heldout.spec import JobSpec
from heldout.stored.artifacts import ArtifactFormat, ArtifactName, ExportFormat, ExportStatus
from heldout.views.export import ExportReportView
from models.ids import new_id
from models.specs import training_spec_of
from models.store import artifacts, new_jobs, worker_memory
from models.store.claims import HeldAttempt, complete
from models.tables import ExportRow, JobRow

MAX_RUNTIME_S = 1800


@dataclass(frozen=True)
class ExportSource:
    """What an export is made from and compared with.

    model, predictions: keys in the blob store; a job that was cancelled has no predictions.
    """

    model: str
    predictions: str | None
    spec: JobSpec


def source_of(session: Session, job_id: str) -> ExportSource | None:
    """What a training has left to export; None where it has no model. Raises JobNotFound, SpecUnreadable."""
    job = session.get(JobRow, job_id)
    if job is None:
        raise JobNotFound(job_id)
    model = artifacts.model_of(session, job)
    if model is None:
        return None
    predictions = artifacts.find(session, job_id, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ)
    return ExportSource(model.key, None if predictions is None else predictions.key, training_spec_of(job))


def find(session: Session, job_id: str, format_: ExportFormat) -> ExportRow | None:
    """What is known of a training's model in that format; None where nobody has ordered it."""
    return session.get(ExportRow, (job_id, format_))


def status_of(session: Session, row: ExportRow) -> JobStatus | None:
    """How the last job stands that was to write it; None where that was deleted."""
    return session.scalar(select(JobRow.status).where(JobRow.id == row.export_job_id))


def order(session: Session, job: JobRow, format_: ExportFormat, *, again: bool = False) -> JobRow | None:
    """Queue the job that writes a training's model for another runtime, for its owner.

    None where one was queued before.

    Args:
        again: queue one also after one that failed.
    """
    # Whoever orders the same at the same moment waits here, and then finds the row.
    session.execute(select(JobRow.id).where(JobRow.id == job.id).with_for_update())
    row = session.get(ExportRow, (job.id, format_), populate_existing=True)
    if row is not None and not (again and row.status is ExportStatus.FAILED):
        return None
    assert job.dataset_id is not None, "only jobs of a deleted dataset have none, and these were refused"
    queued = new_jobs.add(
        session,
        job_id=new_id("job"),
        kind=JobKind.EXPORT,
        owner=job.owner,
        name=f"{job.id} as {format_}",
        spec=ExportSpec(job_id=job.id, format=format_, max_runtime_s=MAX_RUNTIME_S),
        dataset_id=job.dataset_id,
        priority=job.priority,
        device="cpu",
        memory_bytes=worker_memory.reservable(session, export_bytes(format_, job.parameters or 0)),
    )
    if row is None:
        row = ExportRow(job_id=job.id, format=format_)
        session.add(row)
    row.status, row.export_job_id, row.error = ExportStatus.QUEUED, queued.id, None
    session.flush()
    return queued


def mark_stored(
    session: Session,
    held: HeldAttempt,
    job_id: str,
    report: ExportReportView,
    *,
    key: str | None,
) -> JobStatus:
    """End the job well, unless it was cancelled: the model is proven, and in the blob store.

    A second call changes nothing: a worker whose commit was not acknowledged cannot know that it took effect.

    Args:
        job_id: of the training.
        key: of the file; None where a file was proven that is there already.
    Raises:
        LeaseLost: if this attempt no longer holds the job.
    """
    status = complete(session, held)
    if status is JobStatus.SUCCEEDED:
        session.execute(
            update(ExportRow)
            .where(ExportRow.job_id == job_id, ExportRow.export_job_id == held.job_id)
            .values(
                status=ExportStatus.STORED,
                report=report.model_dump(mode="json"),
                key=key,
                size_bytes=None if key is None else report.size_bytes,
                sha256=None if key is None else report.sha256,
            )
            .execution_options(synchronize_session=False)
        )
    return status


def is_named(session: Session, key: str) -> bool:
    """Whether a row names the file: the training may have been deleted meanwhile."""
    return session.scalar(select(ExportRow.job_id).where(ExportRow.key == key)) is not None
