"""Exports of models to other runtimes: orders them, and records their results."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from heldout.errors import JobNotFound
from heldout.lifecycle.job import JobStatus
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ArtifactFormat, ArtifactName, ExportFormat, ExportStatus
from heldout.views.model import ExportReportView
from heldout.work.kinds import EvaluateSpec, ExportSpec, JobKind
from heldout.work.memory import estimate_export_bytes
from models.specs import read_spec, read_training_spec
from models.store import artifacts, new_jobs, quotas, workers
from models.store.claims import HeldAttempt, complete
from models.store.new_jobs import NewJob
from models.tables import ExportRow, JobRow


@dataclass(frozen=True)
class ExportSource:
    """What an export is made from and compared with.

    id: of the training, or of the study whose ensemble is exported.
    models, predictions: keys in the blob store, one per training. A cancelled job has no predictions, and an ensemble
    has none unless all its trainings have some.
    spec: of the training, or of the ensemble's first training.
    """

    id: str
    models: tuple[str, ...]
    predictions: tuple[str, ...]
    spec: JobSpec


def find_export_source(session: Session, job_id: str) -> ExportSource | None:
    """Find what an export is made from. None if a model is gone.

    Args:
        job_id: a training, or the evaluation that measured a study's ensemble.
    Raises:
        JobNotFound, SpecUnreadable.
    """
    row = _require_job(session, job_id)
    asked = read_spec(row)
    jobs = [_require_job(session, job_id) for job_id in asked.winner] if isinstance(asked, EvaluateSpec) else [row]
    models = [artifacts.find_model(session, job) for job in jobs]
    predictions = [artifacts.find(session, job.id, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ) for job in jobs]
    if None in models:
        return None
    return ExportSource(
        id=get_shown_id(row),
        models=tuple(model.key for model in models if model is not None),
        predictions=() if None in predictions else tuple(file.key for file in predictions if file is not None),
        spec=read_training_spec(jobs[0]),
    )


def get_shown_id(job: JobRow) -> str:
    """Get the id that clients use for the model's source: the training, or the study of an evaluation."""
    return job.id if job.study_id is None or job.kind is not JobKind.EVALUATE else job.study_id


def _require_job(session: Session, job_id: str) -> JobRow:
    row = session.get(JobRow, job_id)
    if row is None:
        raise JobNotFound(job_id)
    return row


def find(session: Session, job_id: str, format_: ExportFormat) -> ExportRow | None:
    """Find a training's export to that format. None if it was never ordered."""
    return session.get(ExportRow, (job_id, format_))


def list_of_job(session: Session, job_id: str) -> Sequence[ExportRow]:
    """List a training's ordered exports."""
    return session.scalars(select(ExportRow).where(ExportRow.job_id == job_id)).all()


def get_status(session: Session, row: ExportRow) -> JobStatus | None:
    """Get the status of the export's last job. None if the job was deleted."""
    return session.scalar(select(JobRow.status).where(JobRow.id == row.export_job_id))


def create_export(
    session: Session, job: JobRow, format_: ExportFormat, *, again: bool = False, lost_key: str | None = None
) -> None:
    """Queue the job that exports a model, unless it was queued before.

    Args:
        job: the training, or the evaluation that measured a study's ensemble.
        again: also queue it if the last export failed.
        lost_key: the key of a lost file. Also queue the job if the export still has that file.
    Raises:
        QuotaExceeded, OwnerSuspended.
    """
    quotas.require_room(session, job.owner, *quotas.OF_NEW_JOBS)
    # Concurrent orders of the same export wait here, and then find the row.
    session.execute(select(JobRow.id).where(JobRow.id == job.id).with_for_update())
    row = session.get(ExportRow, (job.id, format_), populate_existing=True)
    if row is not None and lost_key is not None and row.key == lost_key and row.status is ExportStatus.STORED:
        row.key = row.size_bytes = row.sha256 = row.report = None
    elif row is not None and not (again and row.status is ExportStatus.FAILED):
        return
    assert job.dataset_id is not None, "only jobs of deleted datasets have none, and those were refused"
    needed_bytes = estimate_export_bytes(format_, _count_parameters(session, job))
    new_job = NewJob(
        spec=ExportSpec(job_id=job.id, format=format_),
        owner=job.owner,
        name=f"{get_shown_id(job)} as {format_}",
        dataset_id=job.dataset_id,
        memory_bytes=workers.compute_reservable(session, needed_bytes),
    )
    queued = new_jobs.add(session, new_job)
    if row is None:
        row = ExportRow(job_id=job.id, format=format_)
        session.add(row)
    row.status, row.export_job_id, row.error = ExportStatus.QUEUED, queued.id, None
    session.flush()


def _count_parameters(session: Session, job: JobRow) -> int:
    """Count the parameters of all networks in the file."""
    asked = read_spec(job)
    jobs = [_require_job(session, job_id) for job_id in asked.winner] if isinstance(asked, EvaluateSpec) else [job]
    return sum(job.parameters or 0 for job in jobs)


def mark_stored(
    session: Session,
    held: HeldAttempt,
    job_id: str,
    report: ExportReportView,
    *,
    key: str,
) -> JobStatus:
    """End the job as succeeded, unless it was cancelled. The model has passed its check and is in the blob store.

    May be called twice: a worker whose commit was not acknowledged cannot know that it took effect.

    Args:
        job_id: the training, or a study's evaluation.
        key: the key of the file.
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
                size_bytes=report.size_bytes,
                sha256=report.sha256,
            )
        )
    return status


def is_named(session: Session, key: str) -> bool:
    """Return whether a row names the file. The training may have been deleted in the meantime."""
    return session.scalar(select(ExportRow.job_id).where(ExportRow.key == key)) is not None
