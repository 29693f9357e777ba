"""The states of background work: every transition on one screen, and the pure decisions about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from heldout.lifecycle.resources import RejectionCode, look_up


class JobStatus(StrEnum):
    """What the row holds. A running row with a request is shown as `cancelling` or `pausing`."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobEvent(StrEnum):
    """Events that change a job's status."""

    CLAIM = "claim"  # a worker takes it
    SUCCEED = "succeed"  # its work is done
    FAIL = "fail"  # its attempt failed, and another would not help
    RETRY = "retry"  # its attempt failed, and it gets another
    RELEASE = "release"  # its worker shuts down properly
    LOSE = "lose"  # its worker's lease ran out
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    EXPIRE = "expire"  # it waited longer than max_pending_s


class JobRequest(StrEnum):
    """A client's request to a running job, which its worker carries out."""

    CANCEL = "cancel"
    PAUSE = "pause"


class StopReason(StrEnum):
    """Why a successful or cancelled job ended."""

    COMPLETED = "completed"
    EARLY_STOPPED = "early_stopped"
    OVERFIT_GUARD = "overfit_guard"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"


TERMINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})

TRANSITIONS: Mapping[tuple[JobStatus, JobEvent], JobStatus] = MappingProxyType(
    {
        (JobStatus.QUEUED, JobEvent.CLAIM): JobStatus.RUNNING,
        (JobStatus.QUEUED, JobEvent.CANCEL): JobStatus.CANCELLED,
        (JobStatus.QUEUED, JobEvent.PAUSE): JobStatus.PAUSED,
        (JobStatus.QUEUED, JobEvent.EXPIRE): JobStatus.FAILED,
        (JobStatus.RUNNING, JobEvent.SUCCEED): JobStatus.SUCCEEDED,
        (JobStatus.RUNNING, JobEvent.FAIL): JobStatus.FAILED,
        (JobStatus.RUNNING, JobEvent.RETRY): JobStatus.QUEUED,
        (JobStatus.RUNNING, JobEvent.RELEASE): JobStatus.QUEUED,
        (JobStatus.RUNNING, JobEvent.LOSE): JobStatus.QUEUED,
        (JobStatus.RUNNING, JobEvent.CANCEL): JobStatus.CANCELLED,
        (JobStatus.RUNNING, JobEvent.PAUSE): JobStatus.PAUSED,
        (JobStatus.PAUSED, JobEvent.RESUME): JobStatus.QUEUED,
        (JobStatus.PAUSED, JobEvent.CANCEL): JobStatus.CANCELLED,
    }
)


def get_next_status(status: JobStatus, event: JobEvent) -> JobStatus:
    """Return the state after `event`. Raises ImpossibleTransition."""
    return look_up(TRANSITIONS, "job", status, event)


# How running jobs with a request are shown.
SHOWN_REQUESTS: Mapping[JobRequest, str] = MappingProxyType(
    {JobRequest.CANCEL: "cancelling", JobRequest.PAUSE: "pausing"}
)


def get_shown_status(status: JobStatus, request: JobRequest | None) -> str:
    """Return the status that clients see: a request on a running job shows as `cancelling` or `pausing`."""
    if status is not JobStatus.RUNNING or request is None:
        return status.value
    return SHOWN_REQUESTS[request]


def get_event_after_request(event: JobEvent, request: JobRequest | None) -> JobEvent:
    """Return the event that replaces `event` for a running job with a request.

    An accepted cancellation wins over every end. A pause wins over a return to the queue, but not over a real end.
    """
    if request is JobRequest.CANCEL:
        return JobEvent.CANCEL
    if request is JobRequest.PAUSE and event in {JobEvent.RETRY, JobEvent.RELEASE, JobEvent.LOSE}:
        return JobEvent.PAUSE
    return event


# Failed attempts after which a job has failed.
MAX_FAILURES = 3
FIRST_BACKOFF_S = 2.0
# Each backoff is this many times as long as the one before.
BACKOFF_GROWTH = 4


class FailureCode(StrEnum):
    """Why an attempt at a training failed. An ingest fails with a `RejectionCode`."""

    DIVERGED = "diverged"  # a loss was not finite
    DEADLINE = "deadline"  # `limits.max_runtime_s` passed before the first epoch was complete
    DATASET_UNAVAILABLE = "dataset_unavailable"  # its images are not in the blob store
    DATASET_DAMAGED = "dataset_damaged"  # a file of its dataset has changed in the store
    ARTIFACT_DAMAGED = "artifact_damaged"  # a file of a job or model that it needs has changed in the store
    INITIAL_UNAVAILABLE = "initial_unavailable"  # the weights that it starts from are not in the blob store
    BACKBONE_UNAVAILABLE = "backbone_unavailable"  # the uploaded model before its blocks can no longer be read
    MODEL_UNAVAILABLE = "model_unavailable"  # the model to measure is not in the blob store
    EXPORT_DIFFERS = "export_differs"  # another runtime's answers differ from the training's own predictions
    EXPORT_FAILED = "export_failed"  # the model cannot be written for another runtime, or cannot be loaded there
    NO_MAP = "no_map"  # no layer of the network has a spatial map, so there is no heatmap
    NOT_SUPPORTED = "not_supported"  # the worker lacks the packages for it
    OUT_OF_MEMORY = "out_of_memory"
    SCRIPT_FAILED = "script_failed"  # a training that runs elsewhere reported that it failed
    SPEC_UNREADABLE = "spec_unreadable"  # the stored spec is not one that this release understands
    PENDING_TOO_LONG = "pending_too_long"  # no worker took the job within `limits.max_pending_s`
    WORKER_LOST = "worker_lost"  # the lease ran out, or the worker died
    PROCESS_DIED = "process_died"  # the training process ended without an explanation
    STORAGE_UNAVAILABLE = "storage_unavailable"
    GPU_UNAVAILABLE = "gpu_unavailable"
    CHECKPOINT_DAMAGED = "checkpoint_damaged"  # never ends a job: an older checkpoint is used
    INTERNAL = "internal"


# Failures that another attempt would only repeat.
DETERMINISTIC_FAILURES = frozenset(
    {
        FailureCode.DIVERGED,
        FailureCode.DEADLINE,
        FailureCode.DATASET_UNAVAILABLE,
        FailureCode.DATASET_DAMAGED,
        FailureCode.ARTIFACT_DAMAGED,
        FailureCode.INITIAL_UNAVAILABLE,
        FailureCode.BACKBONE_UNAVAILABLE,
        FailureCode.MODEL_UNAVAILABLE,
        FailureCode.EXPORT_DIFFERS,
        FailureCode.EXPORT_FAILED,
        FailureCode.NO_MAP,
        FailureCode.NOT_SUPPORTED,
        FailureCode.OUT_OF_MEMORY,
        FailureCode.SPEC_UNREADABLE,
    }
)


@dataclass(frozen=True)
class AfterFailure:
    """What follows a failed attempt: RETRY after `backoff_s` seconds, or FAIL."""

    event: JobEvent
    backoff_s: float


def decide_after_failure(failures: int, code: FailureCode | RejectionCode) -> AfterFailure:
    """Decide what follows an attempt that failed with `code`; `failures` includes this attempt."""
    if code in DETERMINISTIC_FAILURES or failures >= MAX_FAILURES:
        return AfterFailure(JobEvent.FAIL, 0.0)
    return AfterFailure(JobEvent.RETRY, FIRST_BACKOFF_S * BACKOFF_GROWTH ** (failures - 1))
