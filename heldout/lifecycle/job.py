"""The states of background work: every transition on one screen, and the pure decisions about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from heldout.lifecycle.dataset import RejectionCode


class JobStatus(StrEnum):
    """What the row holds. `cancelling` and `pausing` are shown for a running row that bears a request."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobEvent(StrEnum):
    """What can happen to a job and changes its status."""

    CLAIM = "claim"  # a worker takes it
    SUCCEED = "succeed"  # its work is done
    FAIL = "fail"  # its attempt failed, and no other one would help
    RETRY = "retry"  # its attempt failed and it gets another one
    RELEASE = "release"  # its worker stops in good order
    LOSE = "lose"  # its worker's lease ran out
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    EXPIRE = "expire"  # it waited longer than max_pending_s


class JobRequest(StrEnum):
    """What a client asked of a running job, whose worker does it."""

    CANCEL = "cancel"
    PAUSE = "pause"


class StopReason(StrEnum):
    """Why a job ended that succeeded or was cancelled."""

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


class ImpossibleTransition(ValueError):
    """The event cannot happen in that state."""

    def __init__(self, status: JobStatus, event: JobEvent) -> None:
        super().__init__(f"A {status} job cannot {event}.")


def get_next_status(status: JobStatus, event: JobEvent) -> JobStatus:
    """The state after `event`.

    Raises:
        ImpossibleTransition: if the table has no such row.
    """
    try:
        return TRANSITIONS[status, event]
    except KeyError:
        raise ImpossibleTransition(status, event) from None


# How a running job is shown of which a client has asked something.
SHOWN_REQUESTS: Mapping[JobRequest, str] = MappingProxyType(
    {JobRequest.CANCEL: "cancelling", JobRequest.PAUSE: "pausing"}
)


def get_shown_status(status: JobStatus, request: JobRequest | None) -> str:
    """The status that clients see: a request on a running job shows as `cancelling` or `pausing`."""
    if status is not JobStatus.RUNNING or request is None:
        return status.value
    return SHOWN_REQUESTS[request]


# All statuses that clients can see.
SHOWN_STATUSES = (*(status.value for status in JobStatus), *SHOWN_REQUESTS.values())


def get_event_after_request(event: JobEvent, request: JobRequest | None) -> JobEvent:
    """What happens in place of `event` to a running job of which a client has asked something.

    An accepted cancel wins over every end. A pause wins over going back to the queue, and loses to a real end.
    """
    if request is JobRequest.CANCEL:
        return JobEvent.CANCEL
    if request is JobRequest.PAUSE and event in {JobEvent.RETRY, JobEvent.RELEASE, JobEvent.LOSE}:
        return JobEvent.PAUSE
    return event


# Failed attempts after which a job has failed.
MAX_FAILURES = 3
FIRST_BACKOFF_S = 2.0
# Each backoff is so many times the one before it.
BACKOFF_GROWTH = 4


class FailureCode(StrEnum):
    """Why an attempt at a training failed. An ingest fails with a `RejectionCode`."""

    DIVERGED = "diverged"  # a loss was not finite
    DEADLINE = "deadline"  # `limits.max_runtime_s` passed before one epoch was whole
    DATASET_UNAVAILABLE = "dataset_unavailable"  # its images are not in the blob store
    DATASET_DAMAGED = "dataset_damaged"  # a file of its dataset is not what was stored
    ARTIFACT_DAMAGED = "artifact_damaged"  # a file of a job or model that it needs is not what was stored
    INITIAL_UNAVAILABLE = "initial_unavailable"  # the weights that it starts from are not in the blob store
    BACKBONE_UNAVAILABLE = "backbone_unavailable"  # the uploaded model before its blocks cannot be read any more
    MODEL_UNAVAILABLE = "model_unavailable"  # a model that is to be measured is not in the blob store
    EXPORT_DIFFERS = "export_differs"  # another runtime gives other answers than the training's own predictions
    EXPORT_FAILED = "export_failed"  # the model cannot be written for another runtime, or not be loaded there
    NOT_SUPPORTED = "not_supported"  # the worker lacks the packages for it
    OUT_OF_MEMORY = "out_of_memory"
    SPEC_UNREADABLE = "spec_unreadable"  # the stored spec is not one that this release understands
    PENDING_TOO_LONG = "pending_too_long"  # no worker took the job within `limits.max_pending_s`
    WORKER_LOST = "worker_lost"  # the lease ran out, or the worker died
    PROCESS_DIED = "process_died"  # the process that trains ended without saying why
    STORAGE_UNAVAILABLE = "storage_unavailable"
    GPU_UNAVAILABLE = "gpu_unavailable"
    CHECKPOINT_DAMAGED = "checkpoint_damaged"  # never the end of a job: an older checkpoint is used
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
    """Decide on an attempt that failed with `code`; `failures` counts this one too."""
    if code in DETERMINISTIC_FAILURES or failures >= MAX_FAILURES:
        return AfterFailure(JobEvent.FAIL, 0.0)
    return AfterFailure(JobEvent.RETRY, FIRST_BACKOFF_S * BACKOFF_GROWTH ** (failures - 1))
