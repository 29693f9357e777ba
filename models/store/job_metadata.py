"""The index by which lists find jobs by metadata: a row for each pair of key and value."""

import hashlib
from collections.abc import Mapping

from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

from models.tables import JobMetadataRow


def add(session: Session, job_id: str, owner: str, metadata: Mapping[str, str]) -> None:
    """Write the rows of a new job."""
    rows = [{"owner": owner, "pair_sha256": pair_sha256(*pair), "job_id": job_id} for pair in metadata.items()]
    if rows:
        session.execute(insert(JobMetadataRow), rows)


def replace(session: Session, job_id: str, owner: str, metadata: Mapping[str, str]) -> None:
    """Write the rows of a job whose metadata has changed, in place of the old ones."""
    session.execute(
        delete(JobMetadataRow).where(JobMetadataRow.job_id == job_id).execution_options(synchronize_session=False)
    )
    add(session, job_id, owner, metadata)


def pair_sha256(key: str, value: str) -> str:
    """A digest that no two pairs share; neither text can hold NUL."""
    return hashlib.sha256(f"{key}\0{value}".encode()).hexdigest()
