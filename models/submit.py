"""Submitting training jobs: examine a spec, complete it, queue it. The caller commits, then publishes the wake-up.

For any transaction: a request's, or one of the reconciler's that submits several jobs at once.
"""

import secrets
from dataclasses import dataclass

from heldout.errors import DatasetUnavailable, InvalidSpec, SpecDatasetNotFound, SpecUnreadable
from heldout.examination import examine
from heldout.kinds import JobKind
from heldout.layers import NetworkPlan
from heldout.spec import MAX_SEED, JobSpec
from heldout.views.estimate import EstimateView, LayerView
from models.bundled import BUNDLED
from models.database import Session
from models.ids import new_id
from models.specs import spec_of
from models.store import calibrations, datasets, jobs, new_jobs
from models.store.datasets import ReadyDataset
from models.tables import DatasetRow, JobRow
from models.wake import WakeUp


@dataclass(frozen=True)
class Submitted:
    """A job that is queued once the caller has committed."""

    job: JobRow
    dataset: DatasetRow
    wake_up: WakeUp  # to be published after the commit, and not at all where there is none


def submit(
    session: Session,
    owner: str,
    spec: JobSpec,
    *,
    max_parameters: int,
    dataset: DatasetRow | None = None,
    retry_of: str | None = None,
) -> Submitted:
    """Queue a job.

    Args:
        dataset: the version to train on, where it is not the one that the spec names now.
    Raises:
        SpecDatasetNotFound, DatasetUnavailable, NetworkTooDeep, TooManyParameters, InvalidSpec.
    """
    ready, plan = _examined(session, owner, spec, dataset, max_parameters)
    job_id = new_id("job")
    complete = spec.completed(name=spec.generated_name(ready.row.name, job_id), seed=secrets.randbelow(MAX_SEED + 1))
    job = new_jobs.add(
        session,
        job_id=job_id,
        kind=JobKind.TRAIN,
        owner=owner,
        name=complete.name or "",
        spec=complete,
        dataset_id=ready.row.id,
        priority=complete.priority,
        device=complete.resources.required_device,
        gpus=complete.resources.required_gpus,
        epochs=complete.training.epochs,
        parameters=plan.parameters,
        metadata=complete.metadata,
        max_pending_s=complete.limits.max_pending_s,
        retry_of=retry_of,
    )
    return Submitted(job, ready.row, WakeUp.for_job(job.id, job.gpus))


def retry(session: Session, owner: str, job_id: str, *, max_parameters: int) -> Submitted:
    """Queue a job that has ended once more, on the same version of its dataset.

    Raises:
        JobNotFound, JobNotFinished, and what `submit` raises.
    """
    ended, dataset = jobs.find_with_dataset(session, owner, job_id)
    jobs.require_finished(ended)
    try:
        spec = spec_of(ended)
    except SpecUnreadable as error:
        raise InvalidSpec(error.detail) from error
    assert isinstance(spec, JobSpec)  # clients see no jobs of another kind
    return submit(session, owner, spec, max_parameters=max_parameters, dataset=dataset, retry_of=ended.id)


def estimate(session: Session, owner: str, spec: JobSpec, *, max_parameters: int) -> EstimateView:
    """What the spec would take, without queueing it. Raises what `submit` raises."""
    ready, plan = _examined(session, owner, spec, None, max_parameters)
    return EstimateView(
        object="estimate",
        spec=spec,
        parameters=plan.parameters,
        layers=[LayerView(name=one.name, shape=list(one.shape), parameters=one.parameters) for one in plan.layers],
        flops_per_image=plan.flops_per_image,
        memory_bytes=plan.memory_bytes(
            spec.training.batch_size,
            mixed=spec.training.precision == "mixed",
            averaged=spec.training.ema_decay is not None,
        ),
        seconds_per_epoch=calibrations.expected_epoch_s(calibrations.speeds(session), spec, plan, ready.row),
    )


def _examined(
    session: Session, owner: str, spec: JobSpec, dataset: DatasetRow | None, max_parameters: int
) -> tuple[ReadyDataset, NetworkPlan]:
    """The dataset that the spec is to be trained on, and the plan of its network for images of that dataset."""
    ready = datasets.require_ready(dataset or _dataset_named(session, owner, spec.dataset))
    return ready, examine(spec, ready.image, ready.classes, max_parameters=max_parameters)


def _dataset_named(session: Session, owner: str, reference: str) -> DatasetRow:
    row = datasets.find(session, owner, reference)
    if row is not None:
        return row
    name = reference.partition("@")[0]
    if name in BUNDLED and datasets.find(session, owner, name) is None:
        raise DatasetUnavailable(name, BUNDLED[name].remedy)
    raise SpecDatasetNotFound(reference)
