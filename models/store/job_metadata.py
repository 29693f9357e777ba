"""The index by which lists find jobs by metadata: a row for each pair of key and value."""

import hashlib
from collections.abc import Mapping

from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

from heldout.errors import FieldError, InvalidSpec
from heldout.spec.job import MAX_PAIRS
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


def merged(metadata: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """The metadata after a merge; what is null in `changes` is removed. Raises InvalidSpec if too many are left."""
    both = {key: value for key, value in {**metadata, **changes}.items() if value is not None}
    if len(both) > MAX_PAIRS:
        detail = f'The job would have {len(both)} pairs; it can have {MAX_PAIRS}. Remove some with `{{"key": null}}`.'
        raise InvalidSpec(detail, errors=[FieldError("/metadata", detail)])
    return both


def pair_sha256(key: str, value: str) -> str:
    """A digest that no two pairs share; neither text can hold NUL."""
    return hashlib.sha256(f"{key}\0{value}".encode()).hexdigest()
