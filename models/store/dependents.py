"""Jobs that clients do not list, and that are deleted with the training that they belong to."""

from collections.abc import Collection

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from heldout.work.kinds import JobKind
from models.store import events, proofs
from models.tables import JobRow


def remove(session: Session, owner: str, job_ids: Collection[str]) -> list[str]:
    """Delete the experiments and heatmaps of jobs that are deleted. Returns their ids, whose blobs the caller deletes.

    A worker that runs one of them loses its lease. The proofs' rows go with the jobs.
    """
    of_jobs = JobRow.spec["job_id"].as_string().in_(job_ids)
    is_heatmap = (JobRow.owner == owner, JobRow.kind == JobKind.HEATMAP, of_jobs)
    heatmaps = session.scalars(select(JobRow.id).where(*is_heatmap))
    ids = sorted({*proofs.list_experiments(session, job_ids), *heatmaps})
    if ids:
        session.scalars(select(JobRow.id).where(JobRow.id.in_(ids)).order_by(JobRow.id).with_for_update()).all()
        events.remove_all(session, owner, ids)
        session.execute(delete(JobRow).where(JobRow.id.in_(ids)))
    return ids
