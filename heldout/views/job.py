"""A job, and what one would cost."""

from typing import Literal

from pydantic import ConfigDict, Field

from heldout.lifecycle.job import TERMINAL, StopReason
from heldout.spec.job import JobSpec
from heldout.stored.results import Figure, GapsView
from heldout.views.base import ErrorView, Page, Time, View
from heldout.views.note import NoteView

Status = Literal["queued", "running", "cancelling", "pausing", "paused", "succeeded", "failed", "cancelled"]


class DatasetReference(View):
    """The dataset version that the job trains on, whatever name its spec uses."""

    id: str
    name: str
    version: int


class Progress(View):
    """Completed epochs, the planned number, and the estimated seconds for the rest."""

    epoch: int
    epochs: int
    eta_s: Figure


class BestEpochView(View):
    """An epoch, counted from 1, with its validation figures."""

    epoch: int
    validation_loss: Figure
    validation_accuracy: Figure


class SummaryView(View):
    """How the training went, written when it ends. What is unknown is null.

    The job's row stores this model as JSON, so its writer and the API agree on it. The service completes those that an
    earlier release wrote.
    """

    best: BestEpochView | None = Field(None, description="The epoch with the lowest validation loss.")
    most_accurate: BestEpochView | None = Field(
        None, description="The epoch with the highest validation accuracy; null if not completed yet."
    )
    gap: GapsView | None = Field(None, description="Gaps of the kept weights; null unless the job has succeeded.")
    test_accuracy: Figure = Field(None, description="Test accuracy of the kept weights; null if not measured.")
    verdict: str | None = Field(None, description="The verdict of the job's diagnosis when it ended.")
    headline: str | None = Field(None, description="The verdict in words; null if not completed yet.")


class EngineView(View):
    """What a job runs on. Fields unknown to this release are kept; what was not recorded is null."""

    model_config = ConfigDict(extra="allow")

    device: str | None = Field(None, description="`cpu` or `gpu`.")
    threads: int | None = Field(None, description="Threads of one operation.")
    towers: int | None = Field(None, description="Cores or GPUs that share each batch.")
    precision: str | None = Field(None, description="`float32`, or `mixed`: 16 bits.")
    features: str | None = Field(
        None, description="Whether the features of frozen layers come from the cache; null without such layers."
    )
    python: str | None = None
    tensorflow: str | None = None
    keras: str | None = None
    host: str | None = None


class JobView(View):
    """A training job. `version` grows with every change of this body and is its ETag."""

    id: str
    object: Literal["job"]
    name: str
    status: Status
    stop_reason: StopReason | None
    spec: JobSpec
    dataset: DatasetReference
    parameters: int
    trainable_parameters: int | None = Field(
        None, description="Excludes frozen blocks and the averages of batch normalization, as Keras counts."
    )
    progress: Progress
    summary: SummaryView = SummaryView()  # services of earlier releases have none
    attempt: int = Field(description="How often a worker has started this job, including the current attempt.")
    failures: int
    error: ErrorView | None
    retry_of: str | None
    study_id: str | None
    engine: EngineView | None = Field(description="What it runs on; null before it starts.")
    version: int
    created_at: Time
    queued_at: Time
    started_at: Time | None
    finished_at: Time | None

    @property
    def has_ended(self) -> bool:
        """Whether the job has succeeded, failed or been cancelled: its status is final."""
        return self.status in TERMINAL


class JobCurveView(View):
    """Evenly spaced epochs of a job, including the first and the last: enough for a small picture."""

    epochs: list[int] = Field(description="Their numbers, counted from 1.")
    train_loss: list[Figure]
    validation_loss: list[Figure]


def _is_absent(value: object) -> bool:
    return value is None


class ListedJobView(JobView):
    """A job in a list, with additional fields if the request asks for them."""

    curve: JobCurveView | None = Field(
        None, exclude_if=_is_absent, description="Absent unless requested with `curves`, and before the first epoch."
    )
    queue_position: int | None = Field(
        None,
        exclude_if=_is_absent,
        description="Position among your own jobs, from 1; absent unless requested with `queue`, or if not queued.",
    )


class JobPage(Page[ListedJobView]):
    """A page of the caller's jobs, newest first; `next` is the `after` of the next page."""


MAX_CANCELLED_AT_ONCE = 1000
MAX_NAMED_AT_ONCE = 200  # as many as a page of the list


class NamedCancellationView(View):
    """The result for one of the jobs that the request names."""

    id: str
    status: Literal["cancelled", "cancelling"] | None = Field(description="null if it cannot be cancelled.")
    code: str | None = Field(description="Why it cannot: `job_not_found` or `job_finished`.")


class CancellationView(View):
    """How many jobs one request cancelled."""

    object: Literal["cancellation"]
    cancelled: int = Field(description="Jobs that were waiting and are now cancelled.")
    cancelling: int = Field(description="Running jobs whose workers were asked to cancel them.")
    has_more: bool = Field(
        description=f"Whether there are more: one request covers {MAX_CANCELLED_AT_ONCE} jobs; repeat it for the rest."
    )
    jobs: list[NamedCancellationView] = Field(
        [], description="One entry for each of the request's `ids`, in order; absent without them."
    )


WaitsFor = Literal["worker", "gpu", "memory", "backoff", "quota"]


class QueueView(View):
    """The job's place in the queue; all fields are null if it is not queued."""

    object: Literal["queue"]
    position: int | None = Field(description="Position among the owner's jobs, from 1.")
    ahead: int | None = Field(
        description="The owner's jobs that start before it; between owners, the fair share decides."
    )
    waiting_for: WaitsFor | None = Field(
        description="`memory`: no worker has enough free memory, even if slots are free. `worker`: there is no free "
        "slot, or no worker of a release that can read the spec. `backoff`: a short pause after a failure. "
        "`quota`: the owner has used up its running jobs or slot-seconds, or is suspended."
    )
    estimated_start_s: float | None = Field(
        description="Seconds, estimated from running jobs, jobs of all owners that start before it, and the owner's "
        "quotas; null without an estimate."
    )


class LayerView(View):
    """A layer by its Keras name, its output shape without the batch axis, and its parameters."""

    name: str
    shape: list[int]
    parameters: int


class InitialView(View):
    """The layers that would start from the weights of `job` or `model`, and those with new weights."""

    job: str | None = None
    model: str | None = None
    taken: list[str]
    new: list[str]


class EstimateView(View):
    """What a spec would cost. `name` and `training.seed` are null if a job would generate them."""

    object: Literal["estimate"]
    spec: JobSpec
    parameters: int
    trainable_parameters: int | None = Field(
        None, description="Excludes frozen blocks and the averages of batch normalization, as Keras counts."
    )
    layers: list[LayerView]
    notes: list[NoteView] | None = Field(
        None,
        description="What looks wrong in the network's layers; null if they are not known, behind a "
        "backbone and for a model that an earlier release has read.",
    )
    initial: InitialView | None = Field(None, description="null unless the spec has `initial`.")
    flops_per_image: int = Field(description="FLOPs of one forward pass; a multiply-add counts as two.")
    memory_bytes: int = Field(
        description="Peak memory of the training process on a CPU, including images; a worker must have it free. "
        "Within 25% of measurements on CPUs. On a GPU, a worker reserves 3 GiB (an unmeasured guess) plus what images "
        "and parameters need."
    )
    seconds_per_epoch: float | None = Field(
        description="For a job that has a worker's machine to itself; null until a worker has measured its speed. "
        "With a frozen backbone it contains a share of computing its features, which the owner's later jobs find in "
        "the cache."
    )
