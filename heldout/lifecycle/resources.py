"""The states of datasets, uploaded models and studies, and the codes of what can go wrong with files."""

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Self, TypeVar

Status = TypeVar("Status", bound=StrEnum)
Event = TypeVar("Event", bound=StrEnum)


class DatasetStatus(StrEnum):
    """What the row holds and clients see. `ready` is final, and `rejected` unless the upload is kept."""

    UPLOADING = "uploading"  # announced; its upload is not complete yet
    CHECKING = "checking"  # its ingest job waits or runs
    READY = "ready"
    REJECTED = "rejected"


class DatasetEvent(StrEnum):
    """What can happen to a dataset."""

    RECEIVE = "receive"  # its complete upload is in the blob store
    EXPIRE = "expire"  # no upload arrived in time
    ACCEPT = "accept"  # its ingest converted the upload to images
    REJECT = "reject"  # its ingest ended without images
    RESIZE = "resize"  # its upload is read again, with one size for all images


DATASET_TRANSITIONS: Mapping[tuple[DatasetStatus, DatasetEvent], DatasetStatus] = MappingProxyType(
    {
        (DatasetStatus.UPLOADING, DatasetEvent.RECEIVE): DatasetStatus.CHECKING,
        (DatasetStatus.UPLOADING, DatasetEvent.EXPIRE): DatasetStatus.REJECTED,
        (DatasetStatus.CHECKING, DatasetEvent.ACCEPT): DatasetStatus.READY,
        (DatasetStatus.CHECKING, DatasetEvent.REJECT): DatasetStatus.REJECTED,
        (DatasetStatus.REJECTED, DatasetEvent.RESIZE): DatasetStatus.CHECKING,
    }
)


class ImpossibleTransition(ValueError):
    """The event cannot happen in that state."""

    def __init__(self, kind: str, status: str, event: str) -> None:
        super().__init__(f"A {status} {kind} cannot {event}.")


def look_up(transitions: Mapping[tuple[Status, Event], Status], kind: str, status: Status, event: Event) -> Status:
    """Return the state after `event`. Raises ImpossibleTransition if the table has no such row."""
    try:
        return transitions[status, event]
    except KeyError:
        raise ImpossibleTransition(kind, status, event) from None


def get_next_dataset_status(status: DatasetStatus, event: DatasetEvent) -> DatasetStatus:
    """Return the state after `event`. Raises ImpossibleTransition."""
    return look_up(DATASET_TRANSITIONS, "dataset", status, event)


class RelationsStatus(StrEnum):
    """Whether the copies and groups of a ready dataset are known. Datasets can be used in all of these states."""

    QUEUED = "queued"  # a job that finds them waits or runs
    STORED = "stored"  # they are in the blob store
    FAILED = "failed"  # the job ended without them and is not repeated


class SearchStatus(StrEnum):
    """Whether the result of a search through a ready dataset is known: its wrong labels, or its features."""

    QUEUED = "queued"  # a job that finds them waits or runs
    STORED = "stored"  # they are in the blob store
    FAILED = "failed"  # the job ended without them; `?again=true` queues another


class CodeWithMeaning(StrEnum):
    """Codes for clients to branch on; `meaning` says what each stands for."""

    meaning: str

    def __new__(cls, code: str, meaning: str = "") -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member


class RejectionCode(CodeWithMeaning):
    """Why a dataset was rejected."""

    # The archive.
    NOT_AN_ARCHIVE = "not_an_archive", "The file has none of the accepted formats."
    UNSUPPORTED_ARCHIVE = (
        "unsupported_archive",
        "The archive is encrypted, split into volumes, or compressed in an unsupported way.",
    )
    ARCHIVE_DAMAGED = "archive_damaged", "The archive is truncated, or its parts contradict each other."
    ARCHIVE_BOMB = "archive_bomb", "The archive unpacks to far more than it should, or its members share bytes."
    UNSAFE_PATH = "unsafe_path", "A member's name is absolute, leaves the archive's folder, or has control characters."
    UNSAFE_MEMBER = "unsafe_member", "A member is a link, a device or another special file."
    NAME_NOT_UTF8 = "name_not_utf8", "A member's name is not UTF-8."
    DUPLICATE_MEMBER = "duplicate_member", "Two members have the same name."
    TOO_MANY_MEMBERS = "too_many_members", "There are more members or rows than the limit."
    UPLOAD_TOO_LARGE = "upload_too_large", "The upload is larger than the limit."
    MEMBER_TOO_LARGE = "member_too_large", "One file is larger than the limit."
    UNPACKED_TOO_LARGE = "unpacked_too_large", "All members together are larger than the limit."
    NORMALISED_TOO_LARGE = "normalised_too_large", "The decoded images are larger than the limit."
    QUOTA_EXCEEDED = "quota_exceeded", "The owner's datasets would exceed the quota of bytes."
    # Arrays, tables, labels and folders.
    PICKLE_REFUSED = "pickle_refused", "An array contains Python objects, which are never unpickled."
    BAD_ARRAY = "bad_array", "An array has a shape, a type or values that are not images."
    BAD_LABELS = "bad_labels", "Labels are missing, do not fit the images, or are not one class per image."
    BAD_TABLE = (
        "bad_table",
        "A table cannot be read, has no image or label column, fits no image, or contradicts the class folders.",
    )
    UNEXPECTED_LAYOUT = "unexpected_layout", "Files are not arranged as `class/file` or `split/class/file`."
    NO_IMAGES = "no_images", "The upload has no images."
    TOO_FEW_CLASSES = "too_few_classes", "There are fewer than two classes."
    TOO_MANY_CLASSES = "too_many_classes", "There are more classes than the limit."
    TOO_FEW_IMAGES = "too_few_images", "A split would be empty."
    GROUP_UNMATCHED = (
        "group_unmatched",
        "The group rule does not match a name, or its column is missing or has no value for an image.",
    )
    GROUP_TOO_SLOW = "group_too_slow", "The group rule takes too long to match."
    # One image.
    UNREADABLE_MEMBER = "unreadable_member", "An image file is not an image, or is broken."
    UNSUPPORTED_IMAGE = "unsupported_image", "An image has an unsupported format."
    ANIMATED_IMAGE = "animated_image", "An image has several frames."
    IMAGE_TRUNCATED = "image_truncated", "An image file ends before its pixels do."
    IMAGE_TOO_LARGE = "image_too_large", "An image claims more pixels than the limit."
    IMAGE_BOMB = "image_bomb", "An image contains far more data than its pixels need, or takes too long to decode."
    SIZE_OUT_OF_BOUNDS = "size_out_of_bounds", "Images are smaller or larger than what can be trained on."
    MIXED_SIZES = "mixed_sizes", "Images differ in size, and no target size is given."
    # A derived version.
    UNKNOWN_IMAGE = "unknown_image", "The changes name an image that the changed version does not have."
    NOTHING_CHANGED = "nothing_changed", "The changes would leave the version as it is."
    BASE_MISSING = "base_missing", "The version to change is no longer in the blob store."
    DATASET_DAMAGED = (
        "dataset_damaged",
        "The upload, or a file of the version to change, is damaged in the blob store.",
    )
    # The ingest.
    TIMED_OUT = "timed_out", "The ingest took longer than the limit."
    OUT_OF_MEMORY = "out_of_memory", "The ingest needed more memory than the limit."
    CRASHED = "crashed", "The ingest's process ended without saying why."
    DISK_FULL = "disk_full", "The worker's disk is full."
    WORKER_LOST = "worker_lost", "The ingest's worker ended, or lost the database."
    STORAGE_UNAVAILABLE = "storage_unavailable", "The blob store did not answer, or was full."
    INTERNAL = "internal", "Something broke on our side."
    CANCELLED = "cancelled", "The ingest was cancelled."
    # The upload.
    NEVER_SENT = "never_sent", "No upload arrived within 24 hours."
    UPLOAD_MISSING = "upload_missing", "The upload is no longer in the blob store."


# The upload may be fine: another attempt, or another worker, may succeed.
RETRIED_REJECTIONS = frozenset(
    {
        RejectionCode.TIMED_OUT,
        RejectionCode.CRASHED,
        RejectionCode.DISK_FULL,
        RejectionCode.WORKER_LOST,
        RejectionCode.STORAGE_UNAVAILABLE,
        RejectionCode.INTERNAL,
    }
)


# With one size for all images, the same upload may be read.
FIXED_BY_RESIZE = frozenset(
    {RejectionCode.MIXED_SIZES, RejectionCode.SIZE_OUT_OF_BOUNDS, RejectionCode.NORMALISED_TOO_LARGE}
)


def is_fixed_by_resize(code: str, *, base: str | None) -> bool:
    """Whether a rejected upload may be read with one size for all images. Images added to a base have its size."""
    return base is None and code in FIXED_BY_RESIZE


# The JSON of `model.to_json()` has no weights, so it is small.
MAX_ARCHITECTURE_BYTES = 4 * 1024**2
# How much of a file tells whether it is JSON.
FIRST_BYTES = 64
# Spaces may come first, and the mark that some editors write at the start of a file.
_STARTS_OBJECT = re.compile(rb"(\xef\xbb\xbf)?[ \t\r\n]*\{")


def begins_as_architecture(content: bytes) -> bool:
    """Return whether the first bytes of a file are those of JSON. Neither an archive nor ONNX begins so."""
    return _STARTS_OBJECT.match(content[:FIRST_BYTES]) is not None


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
        "The file unpacks to more than the limit, or the network has too many parameters, calls or layers in a row.",
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
    NOT_FETCHED = "not_fetched", "The weights that an operator ordered could not be fetched."
    CANCELLED = "cancelled", "The check was cancelled."
    # Later.
    WITHDRAWN = "withdrawn", "The operator no longer shares the model with all owners."


class StudyStatus(StrEnum):
    """What the row holds, and what clients see."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ProofStatus(StrEnum):
    """What the row holds, and what clients see."""

    RUNNING = "running"
    ENDED = "ended"
    CANCELLED = "cancelled"
