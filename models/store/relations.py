"""Queues and ends the jobs that find the copies and groups of a dataset."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from analysis.arrays.relations import make_relations_key
from heldout.lifecycle.job import TERMINAL, JobStatus
from heldout.lifecycle.resources import DatasetStatus, RelationsStatus
from heldout.work.kinds import JobKind, RelateSpec
from models.digests import FileDigest
from models.store import file_digests, label_reads, new_jobs
from models.store.claims import HeldAttempt, complete
from models.store.new_jobs import NewJob
from models.tables import DatasetRow, JobRow

# The owner of the service's internal jobs. No key has this owner.
NO_OWNER = ""


def queue(session: Session, dataset_id: str) -> str | None:
    """Queue the job that finds a dataset's copies, and return its id.

    None if the dataset is not ready, or if it has had such a job: there is never a second one.
    """
    queued = session.execute(
        update(DatasetRow)
        .where(
            DatasetRow.id == dataset_id,
            DatasetRow.status == DatasetStatus.READY,
            DatasetRow.deleted_at.is_(None),
            DatasetRow.relations_status.is_(None),
        )
        .values(relations_status=RelationsStatus.QUEUED)
        .returning(DatasetRow.name, DatasetRow.version, DatasetRow.spec)
    ).one_or_none()
    if queued is None:
        return None
    rule = (queued.spec or {}).get("group_by")
    spec, name = RelateSpec(group_by=rule if isinstance(rule, str) else None), f"{queued.name}@{queued.version}"
    return new_jobs.add(session, NewJob(spec=spec, owner=NO_OWNER, name=name, dataset_id=dataset_id)).id


def queue_missing(session: Session) -> str | None:
    """Queue the job for one dataset of an earlier release, bundled and newer datasets first, and return its id.

    Does nothing while another such job exists, so that an upgrade does not fill the queue.
    """
    is_busy = select(JobRow.id).where(JobRow.kind == JobKind.RELATE, JobRow.status.not_in(TERMINAL)).exists()
    dataset_id = session.scalar(
        select(DatasetRow.id)
        .where(
            DatasetRow.status == DatasetStatus.READY,
            DatasetRow.deleted_at.is_(None),
            DatasetRow.same_as.is_(None),  # jobs use the version that it stands for
            DatasetRow.relations_status.is_(None),
            ~is_busy,
        )
        .order_by(DatasetRow.owner.is_not(None), DatasetRow.id.desc())
        .limit(1)
    )
    return None if dataset_id is None else queue(session, dataset_id)


def queue_lost_of_bundled(session: Session, keys: Collection[str]) -> list[str]:
    """Queue the jobs of bundled datasets whose relations are lost again. Returns the keys of lost relations.

    Args:
        keys: keys of lost files of any kind.
    """
    stored = (DatasetRow.owner.is_(None), DatasetRow.relations_status == RelationsStatus.STORED)
    lost = {make_relations_key(id_): id_ for id_ in session.scalars(select(DatasetRow.id).where(*stored))}
    found = [key for key in keys if key in lost]
    for key in found:
        session.execute(update(DatasetRow).where(DatasetRow.id == lost[key]).values(relations_status=None))
        queue(session, lost[key])
    return found


def mark_stored(
    session: Session,
    held: HeldAttempt,
    dataset_id: str,
    digests: Mapping[str, str],
    files: Mapping[str, FileDigest] = MappingProxyType({}),
) -> JobStatus:
    """End the job as succeeded, unless it was cancelled. The dataset's relations must be in the blob store.

    May be called twice: a worker whose commit was not acknowledged cannot know that it took effect.

    Args:
        digests: the digest of each split's images and labels, which datasets of earlier releases lack.
        files: the digest of the relations' file, by key.

    Raises:
        LeaseLost: if this attempt no longer holds the job.
    """
    status = complete(session, held)
    if status is JobStatus.SUCCEEDED:
        file_digests.note(session, files)
        splits: dict[str, Any] = session.scalars(select(DatasetRow.splits).where(DatasetRow.id == dataset_id)).one()
        session.execute(
            update(DatasetRow)
            .where(DatasetRow.id == dataset_id)
            .values(
                relations_status=RelationsStatus.STORED,
                splits={split: {**about, "sha256": digests[split]} for split, about in splits.items()},
            )
        )
        label_reads.give_digests(session, session.get_one(DatasetRow, dataset_id, populate_existing=True))
    return status
