"""Why a model is not available in a format: it is not verified yet, it never will be, or there is no model."""

from heldout.access.routes import get_model_route
from heldout.errors.base import HeldoutError


class EnsembleNotReady(HeldoutError):
    """The study is running, and its winner has not been measured as an ensemble yet."""

    code, status, title = "not_ready", 409, "Not available yet"

    def __init__(self, study_id: str) -> None:
        super().__init__(
            f"Study {study_id} is running and has no ensemble yet. It gets one once a remedy has won and was measured "
            "on test."
        )


class NoEnsemble(HeldoutError):
    """The study ended without an ensemble: no remedy won, or base and winner could not be measured on test."""

    code, status, title = "no_model", 409, "The study has no ensemble"

    def __init__(self, study_id: str, status: str) -> None:
        super().__init__(
            f"Study {study_id} is {status} and has no ensemble. A study only has one if a remedy won and was measured "
            "on test. Its jobs have their own models."
        )


class ExportNotReady(HeldoutError):
    """The export of the model to that format has not ended; `Retry-After`."""

    code, status, title = "not_ready", 409, "Not available yet"

    def __init__(self, source_id: str, format: str, status: str) -> None:
        super().__init__(
            f"The export of {source_id}'s model as {format} is {status}. A worker writes the file, loads it in its own "
            "runtime and compares the answers. Repeat the request in a moment, or with `wait=60`.",
            headers={"Retry-After": "2"},
        )


class ExportDiffers(HeldoutError):
    """The exported model, loaded in its runtime, gives different answers than the job's own predictions.

    Such a file is never served.
    """

    code, status, title = "export_differs", 409, "The exported model gives different answers"

    def __init__(self, source_id: str, format: str, why: str) -> None:
        super().__init__(
            f"The model of {source_id} is not available as {format}. {why} "
            "A file in another format may agree. Once the worker has other packages, "
            f"POST {get_model_route(source_id)}?format={format} exports it again."
        )


class ExportFailed(HeldoutError):
    """The model could not be written in that format; the detail says why, and how to try again."""

    code, status, title = "export_failed", 409, "The model could not be exported"

    def __init__(self, source_id: str, format: str, why: str) -> None:
        super().__init__(
            f"The model of {source_id} could not be exported as {format}. {why} "
            f"POST {get_model_route(source_id)}?format={format} exports it again."
        )


class ExportNotSupported(HeldoutError):
    """The workers cannot write a model for this runtime, because packages are missing."""

    code, status, title = "not_supported", 422, "The workers cannot write that format"

    def __init__(self, source_id: str, format: str, why: str) -> None:
        super().__init__(
            f"The model of {source_id} cannot be exported as {format} here. {why} Then "
            f"POST {get_model_route(source_id)}?format={format} exports it again."
        )
