"""The states of an uploaded model, and codes for problems with its file."""

from enum import StrEnum

from heldout.lifecycle.dataset import CodeWithMeaning


class ModelStatus(StrEnum):
    """What the row holds and clients see. `ready` and `rejected` are final."""

    CHECKING = "checking"  # its file is complete, and the job that reads it waits or runs
    READY = "ready"
    REJECTED = "rejected"


class ModelFormat(StrEnum):
    """The format of the file."""

    KERAS = "keras"
    ONNX = "onnx"


class ModelRejectionCode(CodeWithMeaning):
    """Why a model was rejected."""

    # The file.
    NOT_A_MODEL = "not_a_model", "The file is neither a `.keras` file, nor ONNX, nor the JSON of an architecture."
    OLD_FORMAT = "old_format", "The file has an old Keras format: HDF5, a SavedModel, or JSON of Keras 2."
    MODEL_DAMAGED = "model_damaged", "The file is truncated, or its parts do not fit together."
    MODEL_TOO_LARGE = (
        "model_too_large",
        "The file unpacks to more than the limit, or an architecture has too many parameters.",
    )
    CUSTOM_OBJECT = "custom_object", "A layer or function is custom, or one that networks for images do not need."
    UNSAFE_MODEL = "unsafe_model", "A layer contains code, reads files, or has an argument that is not accepted."
    MISSING_STATE = (
        "missing_state",
        "An architecture alone has a layer that learns from data, such as `Normalization` without a mean.",
    )
    # What it takes and gives.
    NOT_FOR_IMAGES = "not_for_images", "The model does not take one batch of images."
    UNFIT_OUTPUT = "unfit_output", "The model gives neither one figure per class nor a feature map."
    CANNOT_ANSWER = "cannot_answer", "The model fails, or gives figures that are not finite, on a black image."
    # The check.
    NO_ONNX_RUNTIME = "no_onnx_runtime", "The worker has no onnxruntime, which reads ONNX files."
    TIMED_OUT = "timed_out", "The check took longer than the limit."
    OUT_OF_MEMORY = "out_of_memory", "The check needed more memory than the limit, or than the worker has."
    UPLOAD_MISSING = "upload_missing", "The file is no longer in the blob store."
    CANCELLED = "cancelled", "The check was cancelled."
    # Later.
    WITHDRAWN = "withdrawn", "The operator no longer shares the model with all owners."
