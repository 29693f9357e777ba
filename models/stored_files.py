"""Reads and writes files of the blob store: a job's artifacts, and audits of datasets."""

import hashlib
from pathlib import Path

from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.audit import StoredAudit, audit_key
from heldout.stored.evaluation import StoredEvaluation
from models.blobs import BlobMissing, Blobs
from models.database import Session
from models.store import artifacts
from models.store.artifacts import Artifact
from models.tables import DatasetRow


def store_artifact(blobs: Blobs, key: str, file: Path, name: ArtifactName, format_: ArtifactFormat) -> Artifact:
    """Store a file of a job. The caller writes its row.

    Raises:
        StorageUnavailable.
    """
    blobs.put(key, file)
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return Artifact(name, format_, key, file.stat().st_size, digest)


def read_audit(blobs: Blobs, dataset: DatasetRow) -> StoredAudit | None:
    """What the check of the upload found; None where there was no check, as for the bundled datasets.

    Raises:
        StorageUnavailable, FileOfLaterRelease.
    """
    if dataset.owner is None:
        return None
    try:
        return StoredAudit.from_bytes(blobs.read(audit_key(dataset.id)))
    except BlobMissing:
        return None


def read_evaluation(blobs: Blobs, artifact: Artifact | None) -> StoredEvaluation | None:
    """Scores of a job's kept weights; None where there is no file, as for results of the first releases.

    Raises:
        StorageUnavailable, FileOfLaterRelease.
    """
    if artifact is None:
        return None
    try:
        return StoredEvaluation.from_bytes(blobs.read(artifact.key))
    except BlobMissing:
        return None


def evaluation_of(session: Session, job_id: str) -> Artifact | None:
    """The job's file of scores."""
    return artifacts.find(session, job_id, ArtifactName.EVALUATION, ArtifactFormat.JSON)
