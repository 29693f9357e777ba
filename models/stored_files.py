"""Reads and writes files of the blob store: a job's artifacts, and audits of datasets."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog

from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.audit import StoredAudit, audit_key
from heldout.stored.evaluation import StoredEvaluation
from heldout.stored.gap import StoredGap
from models.blobs import BlobMissing, Blobs
from models.database import Session
from models.store import artifacts
from models.store.artifacts import Artifact
from models.tables import DatasetRow

log = structlog.get_logger()

Stored = TypeVar("Stored", StoredAudit, StoredEvaluation, StoredGap)


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
    key = audit_key(dataset.id)
    try:
        return _parsed(StoredAudit.from_bytes, key, blobs.read(key))
    except BlobMissing:
        return None


def read_evaluation(blobs: Blobs, artifact: Artifact | None) -> StoredEvaluation | None:
    """Scores of a job's kept weights; None where there is no whole file, as for results of the first releases.

    Raises:
        StorageUnavailable, FileOfLaterRelease.
    """
    return _read(blobs, artifact, StoredEvaluation.from_bytes)


def read_gap(blobs: Blobs, artifact: Artifact | None) -> StoredGap | None:
    """What the terms of a job's gap are made of; None where there is no whole file, as for results of older releases.

    Raises:
        StorageUnavailable, FileOfLaterRelease.
    """
    return _read(blobs, artifact, StoredGap.from_bytes)


def json_artifact_of(session: Session, job_id: str, name: ArtifactName) -> Artifact | None:
    """A job's JSON file, such as that of its scores."""
    return artifacts.find(session, job_id, name, ArtifactFormat.JSON)


def _read(blobs: Blobs, artifact: Artifact | None, parse: Callable[[bytes], Stored]) -> Stored | None:
    if artifact is None:
        return None
    try:
        return _parsed(parse, artifact.key, blobs.read(artifact.key))
    except BlobMissing:
        return None


def _parsed(parse: Callable[[bytes], Stored], key: str, content: bytes) -> Stored | None:
    """The file's content; None if it is damaged, which is as good as lost: `heldout check --deep` names it too."""
    try:
        return parse(content)
    except ValueError:
        log.warning("file_damaged", key=key)
        return None
