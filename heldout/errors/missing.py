"""Things that do not exist or belong to another owner, and stored files that are gone or damaged."""

from typing import ClassVar, Self

from heldout.access.rights import get_model_route
from heldout.errors.base import HeldoutError


class RouteNotFound(HeldoutError, code="route_not_found", status=404, title="There is no such route"):
    """There is no route at this path."""

    def __init__(self, path: str) -> None:
        super().__init__(f"Nothing is served at {path[:200]!r}. GET /docs lists the routes.")


class JobNotFound(HeldoutError, code="job_not_found", status=404, title="There is no such job"):
    """The key's owner has no such job."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"No job of this key's owner has the id {job_id[:80]!r}. List them with GET /v1/jobs.")


class StudyNotFound(HeldoutError, code="study_not_found", status=404, title="There is no such study"):
    """The key's owner has no such study."""

    def __init__(self, study_id: str) -> None:
        super().__init__(f"No study of this key's owner has the id {study_id[:80]!r}. List them with GET /v1/studies.")


class RunNotFound(HeldoutError, code="run_not_found", status=404, title="There is no such run"):
    """The study has no such training that runs elsewhere."""

    def __init__(self, study_id: str, run_id: str) -> None:
        super().__init__(f"This study has no run {run_id[:80]!r}. GET /v1/studies/{study_id[:80]}/runs lists its runs.")


class ModelNotFound(HeldoutError, code="model_not_found", status=404, title="There is no such model"):
    """The key's owner has no such uploaded model."""

    def __init__(self, model_id: str) -> None:
        super().__init__(f"No model of this key's owner has the id {model_id[:80]!r}. List them with GET /v1/models.")


class EvaluationNotFound(HeldoutError, code="evaluation_not_found", status=404, title="There is no such evaluation"):
    """The key's owner has no such evaluation."""

    def __init__(self, evaluation_id: str) -> None:
        super().__init__(
            f"No evaluation of this key's owner has the id {evaluation_id[:80]!r}. List them with GET /v1/evaluations."
        )


class DatasetNotFound(HeldoutError, code="dataset_not_found", status=404, title="There is no such dataset"):
    """The owner has no such dataset."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No dataset is named {name[:80]!r}. List them with GET /v1/datasets.")


class ImageNotFound(HeldoutError, code="image_not_found", status=404, title="There is no such image"):
    """The dataset has no such class or image; the detail says which ones exist."""


class KeyNotFound(HeldoutError, code="key_not_found", status=404, title="There is no such key"):
    """The owner has no such key."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"No key of this owner has the id {key_id[:80]!r}. List them with GET /v1/keys.")


class WebhookNotFound(HeldoutError, code="webhook_not_found", status=404, title="There is no such webhook"):
    """The key's owner has no such webhook."""

    def __init__(self, webhook_id: str) -> None:
        super().__init__(
            f"No webhook of this key's owner has the id {webhook_id[:80]!r}. List them with GET /v1/webhooks."
        )


class DiagnosisNotFound(HeldoutError, code="diagnosis_not_found", status=404, title="There is no such diagnosis"):
    """The key's owner keeps no such diagnosis. Only the newest 200 are kept."""

    def __init__(self, diagnosis_id: str) -> None:
        super().__init__(
            f"This key's owner keeps no diagnosis with the id {diagnosis_id[:80]!r}. Only the newest 200 are kept; "
            "to keep it, send it again."
        )


class DeliveryNotFound(HeldoutError, code="delivery_not_found", status=404, title="There is no such delivery"):
    """The webhook has no such delivery, or it is older than seven days."""

    def __init__(self, delivery_id: str) -> None:
        super().__init__(
            f"This webhook has no delivery with the id {delivery_id[:80]!r}. The log only goes back seven days."
        )


OPERATOR = "The operator can restore it from a backup; `heldout check --deep` lists what else is missing or damaged."


class ModelLost(HeldoutError, code="model_lost", status=410, title="The model is lost"):
    """A model is gone from the blob store; train the job again, or have the operator restore a backup."""

    def __init__(self, source_id: str, *, wanted_as: str | None = None) -> None:
        """wanted_as: the format of an export that could not be made without the model."""
        of_study = source_id.startswith("std_")
        remedy = "The models of the study's jobs are separate files." if of_study else _suggest_retry(source_id)
        if wanted_as is not None:
            remedy += f" Once the model is restored, POST {get_model_route(source_id)}?format={wanted_as} exports it."
        super().__init__(_describe_loss(f"The model of {source_id} is", remedy))


class ExportLost(HeldoutError, code="export_lost", status=410, title="The exported file is lost"):
    """An exported file is gone from the blob store; export it again, or have the operator restore a backup."""

    def __init__(self, source_id: str, format: str) -> None:
        remedy = f"POST {get_model_route(source_id)}?format={format} writes it again."
        super().__init__(_describe_loss(f"The {format} file of {source_id} is", remedy))


class PredictionsLost(HeldoutError, code="predictions_lost", status=410, title="The job's predictions are lost"):
    """The job's predictions are gone from the blob store; retry the job, or have the operator restore a backup."""

    def __init__(self, job_id: str) -> None:
        super().__init__(_describe_loss(f"The predictions of job {job_id} are", _suggest_retry(job_id)))


class DatasetLost(HeldoutError, code="dataset_lost", status=410, title="The dataset's files are lost"):
    """Files of the dataset are gone from the blob store; upload it again, or have the operator restore a backup."""

    def __init__(self, name: str) -> None:
        remedy = "Upload it again as a new version. The same command restores datasets bundled with the service."
        super().__init__(_describe_loss(f"Files of dataset {name!r} are", remedy))


class ArtifactLost(HeldoutError, code="artifact_lost", status=410, title="A file of the job is lost"):
    """Another file of a job, such as `evaluation.json`, is gone; retry it, or have the operator restore a backup."""

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


class DatasetDamaged(
    Damaged, HeldoutError, code="dataset_damaged", status=410, title="A file of the dataset is damaged"
):
    """A file of the dataset has changed in the store; restore it from a backup, or upload the dataset again."""


class ArtifactDamaged(Damaged, HeldoutError, code="artifact_damaged", status=410, title="A stored file is damaged"):
    """A file of a job, study or model has changed in the store; restore it, or recreate it as the detail says."""


def _suggest_retry(job_id: str) -> str:
    return f"Its figures are kept. POST /v1/jobs/{job_id}/retry trains it again."


def _describe_loss(what: str, remedy: str) -> str:
    return f"{what} no longer in the blob store, and repeating the request does not help. {OPERATOR} {remedy}"


# Raised if one of several files cannot be used; the caller may continue without it.
UNUSABLE: tuple[type[HeldoutError], ...] = (DatasetLost, ArtifactLost, DatasetDamaged, ArtifactDamaged)
