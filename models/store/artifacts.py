"""Artifacts: which files a job has in the blob store, and under which keys."""

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
    """One stored file. sha256 is hexadecimal; it and the size are None where an earlier release has stored the file."""

    name: ArtifactName
    format: ArtifactFormat
    key: str
    size_bytes: int | None = None
    sha256: str | None = None

    @property
    def digest(self) -> FileDigest | None:
        """What was stored."""
        return None if self.sha256 is None else FileDigest(self.size_bytes, self.sha256)


def add(session: Session, job_id: str, attempt: int, artifacts: Sequence[Artifact]) -> None:
    """Note the files that an attempt has stored; the caller has locked the job's row."""
    for artifact in artifacts:
        session.execute(insert(ArtifactRow).values(job_id=job_id, attempt=attempt, **asdict(artifact)))


def find(
    session: Session, job_id: str, name: ArtifactName, format_: ArtifactFormat, *, attempt: int | None = None
) -> Artifact | None:
    """The job's file of this name and format: of one attempt, or of the newest that has stored one."""
    row = session.scalars(
        select(ArtifactRow)
        .where(ArtifactRow.job_id == job_id, ArtifactRow.name == name, ArtifactRow.format == format_)
        .where(*([] if attempt is None else [ArtifactRow.attempt == attempt]))
        .order_by(ArtifactRow.attempt.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Artifact(row.name, row.format, row.key, row.size_bytes, row.sha256)


def forget_of_earlier_attempts(session: Session, job_id: str, attempt: int) -> list[str]:
    """Remove the rows of files that attempts before this one have left, such as a pause. Gives their keys."""
    earlier = (ArtifactRow.job_id == job_id, ArtifactRow.attempt > 0, ArtifactRow.attempt < attempt)
    return list(session.scalars(delete(ArtifactRow).where(*earlier).returning(ArtifactRow.key)))


def find_model(session: Session, job: JobRow) -> Artifact | None:
    """The kept weights of a job that has ended; None where it has left none.

    A paused job leaves some for the case that it is cancelled. Those of an older attempt than its last are not what its
    metrics tell of.
    """
    attempt = {JobStatus.SUCCEEDED: None, JobStatus.CANCELLED: job.attempt}
    if job.status not in attempt:
        return None
    return find(session, job.id, ArtifactName.MODEL, ArtifactFormat.KERAS, attempt=attempt[job.status])


def make_not_there(job: JobRow, what: str) -> NotReady | NoModel:
    """Why a job does not have what it leaves behind: it has not ended, or it has ended without."""
    status = get_shown_status(job.status, job.request)
    return NoModel(job.id, what, status) if job.status in TERMINAL else NotReady(job.id, what, status)
