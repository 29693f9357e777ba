"""Artifacts: the files that a job has in the blob store, with their keys."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, delete, func, insert, select
from sqlalchemy.orm import Session

from heldout.errors import NoModel, NotReady
from heldout.lifecycle.job import TERMINAL, JobStatus, get_shown_status
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from models.digests import FileDigest
from models.tables import ArtifactRow, AttemptRow, JobRow


@dataclass(frozen=True)
class Artifact:
    """One stored file. sha256 is hexadecimal. It and the size are None if an earlier release stored the file."""

    name: ArtifactName
    format: ArtifactFormat
    key: str
    size_bytes: int | None = None
    sha256: str | None = None

    @property
    def digest(self) -> FileDigest | None:
        """The digest of the stored file."""
        return None if self.sha256 is None else FileDigest(self.size_bytes, self.sha256)


def add(session: Session, job_id: str, attempt: int, artifacts: Sequence[Artifact]) -> None:
    """Note the files that an attempt stored. The caller has locked the job's row."""
    for artifact in artifacts:
        session.execute(insert(ArtifactRow).values(job_id=job_id, attempt=attempt, **asdict(artifact)))


def find(
    session: Session, job_id: str, name: ArtifactName, format_: ArtifactFormat, *conditions: ColumnElement[bool]
) -> Artifact | None:
    """Find the job's file of this name and format, from the newest attempt that stored it."""
    row = session.scalars(
        select(ArtifactRow)
        .where(ArtifactRow.job_id == job_id, ArtifactRow.name == name, ArtifactRow.format == format_, *conditions)
        .order_by(ArtifactRow.attempt.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Artifact(row.name, row.format, row.key, row.size_bytes, row.sha256)


def forget_of_earlier_attempts(session: Session, job_id: str, attempt: int) -> list[str]:
    """Delete the rows of files that earlier attempts left, such as at a pause. Returns their keys."""
    earlier = (ArtifactRow.job_id == job_id, ArtifactRow.attempt > 0, ArtifactRow.attempt < attempt)
    return list(session.scalars(delete(ArtifactRow).where(*earlier).returning(ArtifactRow.key)))


def find_model(session: Session, job: JobRow) -> Artifact | None:
    """Find the kept weights of a job that has ended, if any.

    A paused job stores weights in case it is cancelled. They match its metrics until a later attempt trains.
    """
    if job.status not in {JobStatus.SUCCEEDED, JobStatus.CANCELLED}:
        return None
    has_trained = (AttemptRow.job_id == job.id, AttemptRow.start_epoch.is_not(None))
    last = select(func.coalesce(func.max(AttemptRow.attempt), 0)).where(*has_trained).scalar_subquery()
    return find(session, job.id, ArtifactName.MODEL, ArtifactFormat.KERAS, ArtifactRow.attempt >= last)


def make_missing_error(job: JobRow, what: str) -> NotReady | NoModel:
    """Make the error for a missing result: the job has not ended, or it has ended without it."""
    status = get_shown_status(job.status, job.request)
    return NoModel(job.id, what, status) if job.status in TERMINAL else NotReady(job.id, what, status)
