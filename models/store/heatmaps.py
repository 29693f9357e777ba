"""Heatmaps: jobs that show where a training's model looks at one image, found by their names."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from heldout.lifecycle.job import JobRequest, JobStatus
from heldout.work.kinds import HeatmapSpec, JobKind
from models.store import artifacts, new_jobs, quotas
from models.store.artifacts import Artifact
from models.store.claims import HeldAttempt, complete, has_succeeded, require_held
from models.store.new_jobs import NewJob
from models.tables import JobRow


def find(session: Session, owner: str, job_id: str, index: int) -> JobRow | None:
    """Find the last job that computes the heatmap of an image for the owner's training."""
    is_wanted = (JobRow.owner == owner, JobRow.kind == JobKind.HEATMAP, JobRow.name == _make_name(job_id, index))
    return session.scalars(select(JobRow).where(*is_wanted).order_by(JobRow.id.desc()).limit(1)).one_or_none()


def queue(
    session: Session, training: JobRow, index: int, classes: tuple[int, ...], *, instead_of: JobRow | None = None
) -> None:
    """Queue the job that computes the heatmap of an image, unless it was queued before.

    Args:
        classes: positions of the answer and of the label.
        instead_of: the last such job, if it has ended without what is wanted.
    Raises:
        QuotaExceeded, OwnerSuspended.
    """
    quotas.require_room(session, training.owner, *quotas.OF_NEW_JOBS)
    # Concurrent orders of the same heatmap wait here, and then find the row.
    session.execute(select(JobRow.id).where(JobRow.id == training.id).with_for_update())
    known = find(session, training.owner, training.id, index)
    if known is not None and (instead_of is None or known.id != instead_of.id):
        return
    new_job = NewJob(
        spec=HeatmapSpec(job_id=training.id, index=index, classes=classes),
        owner=training.owner,
        name=_make_name(training.id, index),
        dataset_id=training.dataset_id,
        memory_bytes=training.memory_bytes,  # the same network needed no less with a batch and all its images
    )
    new_jobs.add(session, new_job)


def find_model(session: Session, job_id: str) -> Artifact | None:
    """Find the kept weights of a training. None if it has none, or was deleted."""
    training = session.get(JobRow, job_id)
    return None if training is None else artifacts.find_model(session, training)


def end(session: Session, held: HeldAttempt, maps: Artifact) -> JobStatus:
    """End the job as succeeded, unless it was cancelled. Its file is in the blob store.

    May be called twice: a worker whose commit was not acknowledged cannot know that it took effect.

    Raises:
        LeaseLost: if this attempt no longer holds the job.
    """
    if not has_succeeded(session, held) and require_held(session, held).request is not JobRequest.CANCEL:
        artifacts.add(session, held.job_id, held.attempt, [maps])
    return complete(session, held)


def _make_name(job_id: str, index: int) -> str:
    return f"{job_id} image {index}"
