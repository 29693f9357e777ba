"""Things that do not exist or belong to another owner."""

from heldout.errors.base import HeldoutError


class RouteNotFound(HeldoutError):
    """There is no route at this path."""

    code, status, title = "route_not_found", 404, "There is no such route"

    def __init__(self, path: str) -> None:
        super().__init__(f"Nothing is served at {path[:200]!r}. GET /docs lists the routes.")


class JobNotFound(HeldoutError):
    """The key's owner has no such job."""

    code, status, title = "job_not_found", 404, "There is no such job"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"No job of this key's owner has the id {job_id[:80]!r}. List them with GET /v1/jobs.")


class StudyNotFound(HeldoutError):
    """The key's owner has no such study."""

    code, status, title = "study_not_found", 404, "There is no such study"

    def __init__(self, study_id: str) -> None:
        super().__init__(f"No study of this key's owner has the id {study_id[:80]!r}. List them with GET /v1/studies.")


class ModelNotFound(HeldoutError):
    """The key's owner has no such uploaded model."""

    code, status, title = "model_not_found", 404, "There is no such model"

    def __init__(self, model_id: str) -> None:
        super().__init__(f"No model of this key's owner has the id {model_id[:80]!r}. List them with GET /v1/models.")


class EvaluationNotFound(HeldoutError):
    """The key's owner has no such evaluation."""

    code, status, title = "evaluation_not_found", 404, "There is no such evaluation"

    def __init__(self, evaluation_id: str) -> None:
        super().__init__(
            f"No evaluation of this key's owner has the id {evaluation_id[:80]!r}. List them with GET /v1/evaluations."
        )


class DatasetNotFound(HeldoutError):
    """The owner has no such dataset."""

    code, status, title = "dataset_not_found", 404, "There is no such dataset"

    def __init__(self, name: str) -> None:
        super().__init__(f"No dataset is named {name[:80]!r}. List them with GET /v1/datasets.")


class ImageNotFound(HeldoutError):
    """The dataset has no such class or image; the detail says which ones exist."""

    code, status, title = "image_not_found", 404, "There is no such image"


class KeyNotFound(HeldoutError):
    """The owner has no such key."""

    code, status, title = "key_not_found", 404, "There is no such key"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"No key of this owner has the id {key_id[:80]!r}. List them with GET /v1/keys.")


class WebhookNotFound(HeldoutError):
    """The key's owner has no such webhook."""

    code, status, title = "webhook_not_found", 404, "There is no such webhook"

    def __init__(self, webhook_id: str) -> None:
        super().__init__(
            f"No webhook of this key's owner has the id {webhook_id[:80]!r}. List them with GET /v1/webhooks."
        )


class DiagnosisNotFound(HeldoutError):
    """The key's owner keeps no such diagnosis. Only the newest 200 are kept."""

    code, status, title = "diagnosis_not_found", 404, "There is no such diagnosis"

    def __init__(self, diagnosis_id: str) -> None:
        super().__init__(
            f"This key's owner keeps no diagnosis with the id {diagnosis_id[:80]!r}. Only the newest 200 are kept; "
            "To keep it, send it again."
        )


class DeliveryNotFound(HeldoutError):
    """The webhook has no such delivery, or it is older than seven days."""

    code, status, title = "delivery_not_found", 404, "There is no such delivery"

    def __init__(self, delivery_id: str) -> None:
        super().__init__(
            f"This webhook has no delivery with the id {delivery_id[:80]!r}. The log only goes back seven days."
        )
