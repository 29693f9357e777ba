"""Finding jobs by their metadata: each pair is a row in an index, in the order of lists."""

import hashlib
from collections.abc import Mapping

from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

from models.tables import JobMetadataRow


def add(session: Session, job_id: str, owner: str, metadata: Mapping[str, str]) -> None:
    """Write the pairs by which a new job is found."""
    rows = [{"owner": owner, "pair_sha256": pair_sha256(*pair), "job_id": job_id} for pair in metadata.items()]
    if rows:
        session.execute(insert(JobMetadataRow), rows)


def replace(session: Session, job_id: str, owner: str, metadata: Mapping[str, str]) -> None:
    """Write them for a job whose metadata has changed."""
    session.execute(
        delete(JobMetadataRow).where(JobMetadataRow.job_id == job_id).execution_options(synchronize_session=False)
    )
    add(session, job_id, owner, metadata)


def pair_sha256(key: str, value: str) -> str:
    """Tells pairs apart; neither text can hold NUL."""
    return hashlib.sha256(f"{key}\0{value}".encode()).hexdigest()
