"""A training job, its place in the queue, and what became of jobs that were cancelled together."""

from typing import Literal

from pydantic import ConfigDict, Field

from heldout.lifecycle.job import TERMINAL, StopReason
from heldout.spec.job import JobSpec
from heldout.stored.final import Figure, GapsView
from heldout.views.base import Time, View
from heldout.views.page import Page

Status = Literal["queued", "running", "cancelling", "pausing", "paused", "succeeded", "failed", "cancelled"]


class DatasetReference(View):
    """The version of the dataset that the job trains on, whatever name its spec was written with."""

    id: str
    name: str
    version: int


class Progress(View):
    """Whole epochs done, of how many, and the seconds that the rest should take."""

    epoch: int
    epochs: int
    eta_s: Figure


class BestEpochView(View):
    """An epoch, counted from 1, with its validation figures."""

    epoch: int
    validation_loss: Figure
    validation_accuracy: Figure


class SummaryView(View):
    """How the training went, written when it ends. What is not known is null.

    The job's row holds this model as JSON: who writes it and who answers it mean the same.
    """

    best: BestEpochView | None = Field(None, description="The epoch with the lowest validation loss.")
    most_accurate: BestEpochView | None = Field(
        None, description="The epoch with the highest validation accuracy; null for jobs of earlier releases."
    )
    gap: GapsView | None = Field(None, description="Of the kept weights: null unless the job has succeeded.")
    test_accuracy: Figure = Field(None, description="Of the kept weights; null where test images were not measured.")
    verdict: str | None = Field(None, description="That of the job's diagnosis when it ended.")
    headline: str | None = Field(None, description="The verdict in words; null for jobs of earlier releases.")


class JobErrorView(View):
    """Why the job failed."""

    code: str
    detail: str


class EngineView(View):
    """What a job runs on. Fields that this release does not know are kept; null is what was not noted."""

    model_config = ConfigDict(extra="allow")

    device: str | None = Field(None, description="`cpu` or `gpu`.")
    threads: int | None = Field(None, description="Threads of one operation.")
    towers: int | None = Field(None, description="Cores or GPUs that share each batch.")
    precision: str | None = Field(None, description="`float32`, or `mixed`: 16 bits.")
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
        None, description="Without those of frozen blocks and the averages of batch normalization, as Keras counts."
    )
    progress: Progress
    summary: SummaryView = SummaryView()  # services of earlier releases have none
    attempt: int = Field(description="How often a worker has begun this job, the present attempt included.")
    failures: int
    error: JobErrorView | None
    retry_of: str | None
    study_id: str | None
    engine: EngineView | None = Field(description="What it runs on; null before its start.")
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
    """Some epochs of a job, evenly spread, with its first and its last one: enough for a small picture."""

    epochs: list[int] = Field(description="Their numbers, counted from 1.")
    train_loss: list[Figure]
    validation_loss: list[Figure]


def _is_absent(value: object) -> bool:
    return value is None


class ListedJobView(JobView):
    """A job in a list, with what a list shows beside it where that is asked for."""

    curve: JobCurveView | None = Field(
        None, exclude_if=_is_absent, description="Absent unless `curves` asks, and before the first epoch."
    )
    queue_position: int | None = Field(
        None,
        exclude_if=_is_absent,
        description="Among your own jobs, from 1; absent unless `queue` asks, and where the job is not queued.",
    )


class JobPage(Page[ListedJobView]):
    """Part of the caller's jobs, newest first; `next` is the `after` of the following part."""


MAX_CANCELLED_AT_ONCE = 1000
MAX_NAMED_AT_ONCE = 200  # as many as a page of the list


class NamedCancellationView(View):
    """What has become of one of the jobs that the request names."""

    id: str
    status: Literal["cancelled", "cancelling"] | None = Field(description="null where it cannot be cancelled.")
    code: str | None = Field(description="Why not: `job_not_found`, `job_finished`.")


class CancellationView(View):
    """How many jobs one request has reached."""

    object: Literal["cancellation"]
    cancelled: int = Field(description="Were waiting, and are cancelled.")
    cancelling: int = Field(description="Are running; their workers were asked to cancel them.")
    has_more: bool = Field(description=f"One request reaches {MAX_CANCELLED_AT_ONCE} jobs; repeat it for the others.")
    jobs: list[NamedCancellationView] = Field(
        [], description="Each of the `ids` of the request, in their order; absent without them."
    )


WaitsFor = Literal["worker", "gpu", "memory", "backoff"]


class QueueView(View):
    """Where the job waits; all null when it is not queued."""

    object: Literal["queue"]
    position: int | None = Field(description="Among the jobs of the same owner, from 1.")
    ahead: int | None = Field(
        description="Jobs of the same owner that start before it; between owners the fair share decides."
    )
    waiting_for: WaitsFor | None = Field(
        description="`memory`: the workers have too little of it left, whether or not they have a free slot. `worker`: "
        "a free slot, or a worker of a release that can read the job's spec. `backoff`: a moment, after a failure."
    )
    estimated_start_s: float | None = Field(
        description="Estimated from the jobs that run, those that start before it, also of others, and the owner's "
        "quotas; null where no estimate exists."
    )
