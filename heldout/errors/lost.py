"""Stored files that are gone or damaged although their rows exist: waiting does not bring them back."""

from typing import ClassVar, Self

from heldout.access.routes import get_model_route
from heldout.errors.base import HeldoutError

OPERATOR = "The operator can restore it from a backup; `heldout check --deep` lists what else is missing or damaged."


class ModelLost(HeldoutError):
    """A model is gone from the blob store; train the job again, or have the operator restore a backup."""

    code, status, title = "model_lost", 410, "The model is lost"

    def __init__(self, source_id: str, *, wanted_as: str | None = None) -> None:
        """wanted_as: the format of an export that could not be made without the model."""
        of_study = source_id.startswith("std_")
        remedy = "The models of the study's jobs are separate files." if of_study else _suggest_retry(source_id)
        if wanted_as is not None:
            remedy += f" Once the model is restored, POST {get_model_route(source_id)}?format={wanted_as} exports it."
        super().__init__(_describe_loss(f"The model of {source_id} is", remedy))


class ExportLost(HeldoutError):
    """An exported file is gone from the blob store; export it again, or have the operator restore a backup."""

    code, status, title = "export_lost", 410, "The exported file is lost"

    def __init__(self, source_id: str, format: str) -> None:
        remedy = f"POST {get_model_route(source_id)}?format={format} writes it again."
        super().__init__(_describe_loss(f"The {format} file of {source_id} is", remedy))


class PredictionsLost(HeldoutError):
    """The job's predictions are gone from the blob store; retry the job, or have the operator restore a backup."""

    code, status, title = "predictions_lost", 410, "The job's predictions are lost"

    def __init__(self, job_id: str) -> None:
        super().__init__(_describe_loss(f"The predictions of job {job_id} are", _suggest_retry(job_id)))


class DatasetLost(HeldoutError):
    """Files of the dataset are gone from the blob store; upload it again, or have the operator restore a backup."""

    code, status, title = "dataset_lost", 410, "The dataset's files are lost"

    def __init__(self, name: str) -> None:
        remedy = "Upload it again as a new version. The same command restores datasets bundled with the service."
        super().__init__(_describe_loss(f"Files of dataset {name!r} are", remedy))


class ArtifactLost(HeldoutError):
    """Another file of a job, such as `evaluation.json`, is gone; retry it, or have the operator restore a backup."""

    code, status, title = "artifact_lost", 410, "A file of the job is lost"

    def __init__(self, what: str, job_id: str) -> None:
        super().__init__(_describe_loss(f"The file with {what} is", _suggest_retry(job_id)))


class Damaged(Exception):
    """The common part of the two errors below: a stored file has changed."""

    code: ClassVar[str]
    detail: str

    @classmethod
    def of(cls, what: str, found: str, remedy: str) -> Self:
        """what: names the content. found: what was received and what was expected. remedy: what the client can do."""
        lasting = "Repeating the request does not help."
        return cls(f"The file with {what} is damaged. {found} It was not used. {lasting} {OPERATOR} {remedy}")


class DatasetDamaged(Damaged, HeldoutError):
    """A file of the dataset has changed in the store; restore it from a backup, or upload the dataset again."""

    code, status, title = "dataset_damaged", 410, "A file of the dataset is damaged"


class ArtifactDamaged(Damaged, HeldoutError):
    """A file of a job, study or model has changed in the store; restore it, or recreate it as the detail says."""

    code, status, title = "artifact_damaged", 410, "A stored file is damaged"


def _suggest_retry(job_id: str) -> str:
    return f"Its figures are kept. POST /v1/jobs/{job_id}/retry trains it again."


def _describe_loss(what: str, remedy: str) -> str:
    return f"{what} no longer in the blob store, and repeating the request does not help. {OPERATOR} {remedy}"


# Raised if one of several files cannot be used; the caller may continue without it.
UNUSABLE: tuple[type[HeldoutError], ...] = (DatasetLost, ArtifactLost, DatasetDamaged, ArtifactDamaged)
