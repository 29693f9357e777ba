"""What every answer is made of, and the job and its events, which more than one room answers."""

import math
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from heldout.lifecycle import StopReason, shown_status
from heldout.spec import JobSpec
from models.tables import DatasetRow, EventRow, JobRow


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _finite_or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Time = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json-unless-none")]
# A figure that is not finite is null: NaN is not JSON.
Figure = Annotated[float | None, BeforeValidator(_finite_or_none)]
Status = Literal["queued", "running", "cancelling", "pausing", "paused", "succeeded", "failed", "cancelled"]


class View(BaseModel):
    """Base of all answers; made from rows, never parsed from clients."""

    model_config = ConfigDict(frozen=True)


Item = TypeVar("Item", bound=View)


class Page(View, Generic[Item]):
    """Part of a list. `next` is the `after` of the following part, null at the end."""

    object: Literal["list"]
    data: list[Item]
    has_more: bool
    next: str | None


class DatasetReference(View):
    """The version that the job trains on, whatever name its spec was written with."""

    id: str
    name: str
    version: int


class Progress(View):
    """Whole epochs done, of how many, and the seconds that the rest should take."""

    epoch: int
    epochs: int
    eta_s: Figure


class ErrorView(View):
    """Why it failed."""

    code: str
    detail: str


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
    progress: Progress
    attempt: int = Field(description="Tries of workers at this job, the present one included.")
    failures: int
    error: ErrorView | None
    retry_of: str | None
    study_id: str | None
    engine: dict[str, Any] | None = Field(
        description="What it runs on (device, threads, towers, versions, host); null before its start."
    )
    version: int
    created_at: Time
    queued_at: Time
    started_at: Time | None
    finished_at: Time | None

    @classmethod
    def of(cls, job: JobRow, dataset: DatasetRow) -> "JobView":
        return cls(
            id=job.id,
            object="job",
            name=job.name,
            status=shown_status(job.status, job.request),
            stop_reason=StopReason(job.stop_reason) if job.stop_reason else None,
            spec=JobSpec.model_validate(job.spec),
            dataset=DatasetReference(id=dataset.id, name=dataset.name, version=dataset.version),
            parameters=job.parameters or 0,
            progress=Progress(epoch=job.epoch, epochs=job.epochs, eta_s=job.eta_s),
            attempt=job.attempt,
            failures=job.failures,
            error=ErrorView.model_validate(job.error) if job.error else None,
            retry_of=job.retry_of,
            study_id=job.study_id,
            engine=job.engine,
            version=job.version,
            created_at=job.created_at,
            queued_at=job.queued_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
        )


class EventView(View):
    """Something that happened to the job; numbered from 1."""

    id: int
    object: Literal["event"]
    type: str
    level: Literal["info", "warning", "error"]
    message: str
    data: dict[str, Any]
    created_at: Time

    @classmethod
    def of(cls, row: EventRow) -> "EventView":
        return cls(
            id=row.id,
            object="event",
            type=row.type,
            level=row.level,
            message=row.message,
            data=row.data,
            created_at=row.created_at,
        )
