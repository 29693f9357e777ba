"""Why an uploaded model is not taken: a stable code, and what to do."""

from heldout.model_lifecycle import ModelRejectionCode


class ModelRefused(Exception):
    """Its text is shown to the owner."""

    def __init__(self, code: ModelRejectionCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
