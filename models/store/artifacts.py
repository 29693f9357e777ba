"""Artifacts: the files that a job has in the blob store, with their keys."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from heldout.errors import NoModel, NotReady
from heldout.lifecycle.job import TERMINAL, JobStatus, get_shown_status
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from models.digests import FileDigest
from models.tables import ArtifactRow, JobRow


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
    session: Session, job_id: str, name: ArtifactName, format_: ArtifactFormat, *, attempt: int | None = None
) -> Artifact | None:
    """Find the job's file of this name and format, from one attempt or from the newest one that stored it."""
    row = session.scalars(
        select(ArtifactRow)
        .where(ArtifactRow.job_id == job_id, ArtifactRow.name == name, ArtifactRow.format == format_)
        .where(*([] if attempt is None else [ArtifactRow.attempt == attempt]))
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

    A paused job stores weights in case it is cancelled. Weights of an attempt before the last do not match its metrics.
    """
    attempt = {JobStatus.SUCCEEDED: None, JobStatus.CANCELLED: job.attempt}
    if job.status not in attempt:
        return None
    return find(session, job.id, ArtifactName.MODEL, ArtifactFormat.KERAS, attempt=attempt[job.status])


def make_missing_error(job: JobRow, what: str) -> NotReady | NoModel:
    """Make the error for a missing result: the job has not ended, or it has ended without it."""
    status = get_shown_status(job.status, job.request)
    return NoModel(job.id, what, status) if job.status in TERMINAL else NotReady(job.id, what, status)
