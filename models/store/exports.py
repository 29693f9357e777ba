"""Models of trainings for other runtimes: who is to write one, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from heldout.errors import JobNotFound
from heldout.lifecycle.job import JobStatus
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ArtifactFormat, ArtifactName, ExportFormat, ExportStatus
from heldout.views.export import ExportReportView
from heldout.work.kinds import EvaluateSpec, ExportSpec, JobKind
from heldout.work.memory import export_bytes
from models.specs import read_spec, read_training_spec
from models.store import artifacts, new_jobs, quotas, workers
from models.store.claims import HeldAttempt, complete
from models.store.new_jobs import NewJob
from models.tables import ExportRow, JobRow


@dataclass(frozen=True)
class ExportSource:
    """What an export is made from and compared with.

    id: of the training, or of the study whose ensemble it is.
    models, predictions: keys in the blob store, of each training; a job that was cancelled has no predictions, and an
    ensemble none unless all of its trainings have some.
    spec: of the training, or of the ensemble's first one.
    """

    id: str
    models: tuple[str, ...]
    predictions: tuple[str, ...]
    spec: JobSpec


def find_export_source(session: Session, job_id: str) -> ExportSource | None:
    """What there is to export; None where a model is gone.

    Args:
        job_id: of a training, or of the evaluation that has measured a study's ensemble.
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
    """Of what has left the model, as clients know it: the training, or the study of an evaluation."""
    return job.id if job.study_id is None or job.kind is not JobKind.EVALUATE else job.study_id


def _require_job(session: Session, job_id: str) -> JobRow:
    row = session.get(JobRow, job_id)
    if row is None:
        raise JobNotFound(job_id)
    return row


def find(session: Session, job_id: str, format_: ExportFormat) -> ExportRow | None:
    """What is known of a training's model in that format; None where nobody has ordered it."""
    return session.get(ExportRow, (job_id, format_))


def list_of_job(session: Session, job_id: str) -> Sequence[ExportRow]:
    """What is known of a training's model in the formats that somebody has ordered."""
    return session.scalars(select(ExportRow).where(ExportRow.job_id == job_id)).all()


def get_status(session: Session, row: ExportRow) -> JobStatus | None:
    """How the last job stands that was to write it; None where that was deleted."""
    return session.scalar(select(JobRow.status).where(JobRow.id == row.export_job_id))


def order(
    session: Session, job: JobRow, format_: ExportFormat, *, again: bool = False, lost_key: str | None = None
) -> None:
    """Queue the job that writes a model for another runtime, for its owner, unless one was queued before.

    Args:
        job: the training, or the evaluation that has measured a study's ensemble.
        again: queue one also after one that failed.
        lost_key: of the file that the blob store has lost: queue one also if that is still the one to be handed out.
    Raises:
        QuotaExceeded, OwnerSuspended.
    """
    quotas.require_room(session, job.owner, *quotas.OF_NEW_JOBS)
    # Whoever orders the same at the same moment waits here, and then finds the row.
    session.execute(select(JobRow.id).where(JobRow.id == job.id).with_for_update())
    row = session.get(ExportRow, (job.id, format_), populate_existing=True)
    if row is not None and lost_key is not None and row.key == lost_key and row.status is ExportStatus.STORED:
        row.key = row.size_bytes = row.sha256 = row.report = None
    elif row is not None and not (again and row.status is ExportStatus.FAILED):
        return
    assert job.dataset_id is not None, "only jobs of a deleted dataset have none, and these were refused"
    needed_bytes = export_bytes(format_, _count_parameters(session, job))
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
    """Those of all networks that go into the file."""
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
    """End the job well, unless it was cancelled: the model is proven, and in the blob store.

    A second call changes nothing: a worker whose commit was not acknowledged cannot know that it took effect.

    Args:
        job_id: of the training, or of a study's evaluation.
        key: of the file.
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
    """Whether a row names the file: the training may have been deleted meanwhile."""
    return session.scalar(select(ExportRow.job_id).where(ExportRow.key == key)) is not None
