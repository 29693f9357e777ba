"""The reason why a model's file is refused: a stable code, and what to do."""

from functools import partial

from heldout.lifecycle.resources import ModelRejectionCode


class ModelRefused(Exception):
    """Its text is shown to the owner."""

    def __init__(self, code: ModelRejectionCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


make_damaged = partial(ModelRefused, ModelRejectionCode.MODEL_DAMAGED)
make_too_large = partial(ModelRefused, ModelRejectionCode.MODEL_TOO_LARGE)


def make_one_number_refusal() -> ModelRefused:
    """Refuse a model whose only output is a number that is not a probability, as in regression."""
    return ModelRefused(
        ModelRejectionCode.UNFIT_OUTPUT,
        "The model gives one number per image that is not a probability. Heldout measures classifiers, not regression. "
        "If the model chooses between two classes, end it with a sigmoid, and save it again.",
    )


def make_failure_on(shape: tuple[int, ...]) -> ModelRefused:
    """Refuse a model that does not answer a batch of black images of this shape."""
    sizes = "×".join(map(str, shape))
    return ModelRefused(
        ModelRejectionCode.CANNOT_ANSWER,
        f"The model fails on a black image, an array of {sizes} zeros. Try it there where it was trained, and save it "
        "again.",
    )
