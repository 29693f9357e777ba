"""The states of an uploaded model, and the codes of what can be wrong with its file."""

from enum import StrEnum

from heldout.lifecycle.dataset import CodeWithMeaning


class ModelStatus(StrEnum):
    """What the row holds and clients see. `ready` and `rejected` are final."""

    CHECKING = "checking"  # its file has come whole, and the job that reads it waits or runs
    READY = "ready"
    REJECTED = "rejected"


class ModelFormat(StrEnum):
    """How the file is written."""

    KERAS = "keras"
    ONNX = "onnx"


class ModelRejectionCode(CodeWithMeaning):
    """Why a model was rejected."""

    # The file.
    NOT_A_MODEL = "not_a_model", "The file is neither a `.keras` file nor an ONNX one."
    OLD_FORMAT = "old_format", "The file has a format that Keras used earlier: HDF5, or a SavedModel."
    MODEL_DAMAGED = "model_damaged", "The file is cut off, or its parts do not fit together."
    MODEL_TOO_LARGE = "model_too_large", "The file unpacks to more than the limit."
    CUSTOM_OBJECT = "custom_object", "A layer or function is your own, or one that no network for images needs."
    UNSAFE_MODEL = "unsafe_model", "A layer holds code, reads files, or has an argument that is not accepted."
    # What it takes and gives.
    NOT_FOR_IMAGES = "not_for_images", "The model does not take one batch of images."
    UNFIT_OUTPUT = "unfit_output", "The model gives neither one figure for each class nor a feature map."
    CANNOT_ANSWER = "cannot_answer", "The model fails, or gives figures that are not finite, on a black image."
    # The check.
    NO_ONNX_RUNTIME = "no_onnx_runtime", "The worker has no onnxruntime, which reads ONNX files."
    TIMED_OUT = "timed_out", "The check took longer than the limit."
    OUT_OF_MEMORY = "out_of_memory", "The check needed more memory than the limit, or than the worker has."
    UPLOAD_MISSING = "upload_missing", "The file is not in the blob store any more."
    CANCELLED = "cancelled", "The check was cancelled."
