"""Why a model is not handed out in a format: it is not proven yet, it never will be, or there is none."""

from heldout.access.routes import get_model_route
from heldout.errors.base import HeldoutError


class EnsembleNotReady(HeldoutError):
    """The study runs, and its winner has not been measured as an ensemble yet."""

    code, status, title = "not_ready", 409, "Not there yet"

    def __init__(self, study_id: str) -> None:
        super().__init__(
            f"Study {study_id} runs and has no ensemble yet. It has one when a remedy has won and is measured on test."
        )


class NoEnsemble(HeldoutError):
    """The study has ended without an ensemble: no remedy has won, or base and winner could not be measured on test."""

    code, status, title = "no_model", 409, "The study has left no ensemble"

    def __init__(self, study_id: str, status: str) -> None:
        super().__init__(
            f"Study {study_id} is {status} and has no ensemble: there is one where a remedy has won and was measured "
            "on test. Its jobs have models of their own."
        )


class ExportNotReady(HeldoutError):
    """The model was ordered in that format, and its export has not ended; `Retry-After`."""

    code, status, title = "not_ready", 409, "Not there yet"

    def __init__(self, source_id: str, format: str, status: str) -> None:
        super().__init__(
            f"The model of {source_id} is ordered as {format}; its export is {status}. A worker writes the file, "
            "loads it again in its own runtime and compares its answers. Repeat the request in a moment, or with "
            "`wait=60`.",
            headers={"Retry-After": "2"},
        )


class ExportDiffers(HeldoutError):
    """The model, loaded again in the runtime that was asked for, gives other answers than the job's own predictions;
    that file is never handed out.
    """

    code, status, title = "export_differs", 409, "The exported model gives other answers"

    def __init__(self, source_id: str, format: str, why: str) -> None:
        super().__init__(
            f"The model of {source_id} as {format} is not handed out. {why} "
            "A file in another format may agree. Once the worker has other packages, "
            f"POST {get_model_route(source_id)}?format={format} exports once more."
        )


class ExportFailed(HeldoutError):
    """The model could not be written in that format; the detail says why, and how to order it once more."""

    code, status, title = "export_failed", 409, "The model could not be exported"

    def __init__(self, source_id: str, format: str, why: str) -> None:
        super().__init__(
            f"The model of {source_id} could not be exported as {format}. {why} "
            f"POST {get_model_route(source_id)}?format={format} exports once more."
        )


class ExportNotSupported(HeldoutError):
    """The workers cannot write a model for a runtime: packages are missing."""

    code, status, title = "not_supported", 422, "The workers cannot write that format"

    def __init__(self, source_id: str, format: str, why: str) -> None:
        super().__init__(
            f"The model of {source_id} cannot be exported as {format} here. {why} Then "
            f"POST {get_model_route(source_id)}?format={format} exports once more."
        )
