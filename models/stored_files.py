"""Reads and writes files of the blob store: a job's artifacts, and audits of datasets."""

import hashlib
from pathlib import Path

from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.audit import StoredAudit, audit_key
from heldout.stored.evaluation import StoredEvaluation
from heldout.stored.gap import StoredGap
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
    content = _content_of(blobs, artifact)
    return None if content is None else StoredEvaluation.from_bytes(content)


def read_gap(blobs: Blobs, artifact: Artifact | None) -> StoredGap | None:
    """What the terms of a job's gap are made of; None where there is no file, as for results of older releases.

    Raises:
        StorageUnavailable, FileOfLaterRelease.
    """
    content = _content_of(blobs, artifact)
    return None if content is None else StoredGap.from_bytes(content)


def json_artifact_of(session: Session, job_id: str, name: ArtifactName) -> Artifact | None:
    """A job's JSON file, such as that of its scores."""
    return artifacts.find(session, job_id, name, ArtifactFormat.JSON)


def _content_of(blobs: Blobs, artifact: Artifact | None) -> bytes | None:
    if artifact is None:
        return None
    try:
        return blobs.read(artifact.key)
    except BlobMissing:
        return None
