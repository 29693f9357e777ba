"""Creates training jobs: examines, completes and queues a new spec or that of an ended job. The caller commits.

Used in requests, and by the reconciler, which submits several jobs in one transaction.
"""

import secrets
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from analysis.jobs.examination import RetrySpec, add_remedy_to_name, examine, extend_spec
from analysis.jobs.initial import match
from heldout.access.rights import count_bytes
from heldout.errors import (
    DatasetUnavailable,
    InvalidSpec,
    JobNotFinished,
    NeedsMoreMemory,
    SpecDatasetNotFound,
    SpecUnreadable,
    StateGone,
)
from heldout.lifecycle.job import TERMINAL
from heldout.remedies.arms import resolve_remedy
from heldout.remedies.catalogue import REMEDIES
from heldout.remedies.change import NoChange
from heldout.spec.documents import merge
from heldout.spec.field_errors import make_patch_refusal
from heldout.spec.job import JobSpec
from heldout.spec.layers import BACKBONE, UPLOADED, NetworkPlan
from heldout.spec.part import MAX_SEED
from heldout.views.job import EstimateView, InitialView, LayerView
from heldout.work.memory import WorkerMemory, could_hold, find_fitting_batch_size
from models import initial_weights
from models.blobs import Blobs
from models.bundled import BUNDLED
from models.database import Session
from models.ids import make_id
from models.initial_weights import BEFORE_ATTEMPTS, Continuation, InitialState, copy_files, find_backbone, find_source
from models.job_diagnosis import diagnose_job
from models.memory import add_uploaded_weights, compute_reserved_bytes, estimate_needed_bytes, estimate_without_images
from models.network_notes import list_notes
from models.objectives import require_fitting_images
from models.specs import count_splits, read_training_spec
from models.store import calibrations, claims, datasets, events, jobs, new_jobs, quotas, workers
from models.store.datasets import ReadyDataset
from models.store.new_jobs import NewJob
from models.stored_files import require_folds, uses_relations
from models.study_base import make_base
from models.tables import DatasetRow, JobRow


def create_job(
    session: Session,
    blobs: Blobs,
    owner: str,
    spec: JobSpec,
    *,
    max_parameters: int,
    dataset: DatasetRow | None = None,
    retry_of: JobRow | None = None,
    continued: Continuation | None = None,
) -> tuple[JobRow, DatasetRow]:
    """Queue a job. Returns its row and its dataset's.

    Args:
        dataset: the version to train on, if it differs from the spec's.
        retry_of: the job that is run again.
        continued: the state that the job continues from.
    Raises:
        SpecDatasetNotFound, DatasetUnavailable, CopiesNotKnown, NetworkTooDeep, NeedsMoreMemory, TooManyParameters,
        InvalidSpec, NotSupported, StateGone, StorageUnavailable, SpecModelNotFound, ModelUnavailable, QuotaExceeded.
    """
    quotas.require_room(session, owner, *quotas.OF_NEW_JOBS, spec_bytes=count_bytes(spec.model_dump_json()) or 0)
    examined = examine_spec(session, blobs, owner, spec, dataset, max_parameters, retry_of)
    require_fitting_images(session, blobs, examined.ready.row, spec)
    row, job_id = examined.ready.row, make_id("job")
    complete = spec.complete(
        name=spec.generate_name(row.name, job_id),
        seed=secrets.randbelow(MAX_SEED + 1),
        uploaded=examined.plan.backbone,
    )
    job = queue_examined(
        session,
        blobs,
        owner,
        job_id,
        complete,
        examined,
        retry_of=None if retry_of is None else retry_of.id,
        continued=continued,
    )
    if spec.folds is not None and not uses_relations(row.relations_status):
        text = f"The copies in {row.name} could not be found, so images that belong together may be in different folds."
        events.add(session, job_id, "job.warning", text, level="warning")
    _warn_of_missing_gpus(session, job_id, complete.resources.required_gpus)
    return job, row


def queue_examined(
    session: Session,
    blobs: Blobs,
    owner: str,
    job_id: str,
    complete: JobSpec,
    examined: "ExaminedSpec",
    *,
    retry_of: str | None = None,
    continued: Continuation | None = None,
) -> JobRow:
    """Queue a job with a complete spec that was examined, and give it its own copies of what it starts from."""
    row, folder = examined.ready.row, f"jobs/{job_id}/{BEFORE_ATTEMPTS}"
    with copy_files(blobs, folder, replace(examined.initial_state, continued=continued)) as initial_state:
        new_job = NewJob(
            id=job_id,
            spec=complete,
            owner=owner,
            name=complete.name or "",
            dataset_id=row.id,
            memory_bytes=_reserve_memory_bytes(row, complete, examined),
            parameters=examined.plan.parameters,
            retry_of=retry_of,
            provenance=initial_state.provenance,
        )
        job = new_jobs.add(session, new_job)
        initial_weights.add_initial_state(session, job_id, initial_state)
    return job


def _reserve_memory_bytes(dataset: DatasetRow, spec: JobSpec, examined: "ExaminedSpec") -> int | None:
    largest, initial_state = examined.largest_worker, examined.initial_state
    reserved = compute_reserved_bytes(dataset, spec, largest, examined.plan)
    if initial_state.backbone is not None:
        return add_uploaded_weights(reserved, initial_state.backbone.file.size_bytes or 0, largest)
    if initial_state.source is not None and initial_state.source.weights.is_of_model:
        return add_uploaded_weights(reserved, initial_state.source.file.size_bytes or 0, largest)
    return reserved


def _warn_of_missing_gpus(session: Session, job_id: str, needed: int) -> None:
    if not needed:
        return
    most = workers.find_most_gpus(session)
    if most >= needed:
        return
    has = "No running worker has a GPU" if not most else f"No running worker has more than {most} GPUs"
    text = f"{has}. The job waits for a worker with {needed}. With `resources.device` `auto`, it would run now."
    events.add(session, job_id, "job.warning", text, level="warning", data={"needed_gpus": needed, "most_gpus": most})


def estimate(session: Session, blobs: Blobs, owner: str, spec: JobSpec, *, max_parameters: int) -> EstimateView:
    """Estimate the cost of a spec without queueing it. Raises the same errors as `create_job`."""
    examined = examine_spec(session, blobs, owner, spec, None, max_parameters, None)
    require_fitting_images(session, blobs, examined.ready.row, spec)
    plan, initial = examined.plan, examined.initial_state.initial
    return EstimateView(
        object="estimate",
        spec=spec,
        parameters=plan.parameters,
        trainable_parameters=plan.trainable_parameters(spec.initial.freeze_blocks if spec.initial else 0),
        layers=_list_layers(examined),
        notes=list_notes(session, owner, spec, examined.ready, plan),
        initial=None if initial is None else InitialView.model_validate(initial.event_data),
        flops_per_image=plan.flops_per_image,
        memory_bytes=estimate_needed_bytes(examined.ready.row, spec, plan) or 0,
        seconds_per_epoch=calibrations.estimate_epoch_s(
            calibrations.list_speeds(session), spec, plan, examined.ready.row
        ),
    )


def _list_layers(examined: "ExaminedSpec") -> list[LayerView]:
    """List the layers of the network, including each layer of an uploaded one."""
    source, found = examined.initial_state.backbone, list[LayerView]()
    for layer in examined.plan.layers:
        if layer.name in UPLOADED and source is not None and source.layers:
            prefix = f"{BACKBONE}/" if layer.name == BACKBONE else ""
            inside = [(f"{prefix}{inner.name}", inner.shape, inner.parameters) for inner in source.layers]
        else:
            inside = [(layer.name, layer.shape, layer.parameters)]
        found += [LayerView(name=name, shape=list(shape), parameters=count) for name, shape, count in inside]
    return found


@dataclass(frozen=True)
class ExaminedSpec:
    """The dataset to train a spec on, the plan of its network for these images, and its first weights."""

    ready: ReadyDataset
    plan: NetworkPlan
    initial_state: InitialState
    largest_worker: WorkerMemory | None = None  # None if no worker is known


def examine_spec(
    session: Session,
    blobs: Blobs,
    owner: str,
    spec: JobSpec,
    dataset: DatasetRow | None,
    max_parameters: int,
    ended: JobRow | None,
) -> ExaminedSpec:
    """Examine a spec on the given dataset, or on its own. Raises the same errors as `create_job`.

    Args:
        ended: the job that is run again, whose copy of first weights may be used.
    """
    ready = datasets.require_ready(dataset or find_named_dataset(session, owner, spec.dataset))
    backbone = find_backbone(session, owner, spec.network, ready, ended)
    plan = examine(
        spec,
        ready.image,
        ready.classes,
        max_parameters=max_parameters,
        backbone=None if backbone is None else backbone.backbone,
    )
    largest = require_memory(session, ready.row, spec, plan)
    require_folds(session, blobs, ready.row, spec)
    if spec.initial is None:
        return ExaminedSpec(ready, plan, InitialState(backbone=backbone), largest)
    source = find_source(session, owner, spec.initial, ended)
    return ExaminedSpec(ready, plan, InitialState(source, match(spec, plan, ready.classes, source.weights)), largest)


def find_named_dataset(session: Session, owner: str, reference: str) -> DatasetRow:
    """Find the dataset that a spec names. Raises SpecDatasetNotFound, DatasetUnavailable."""
    row = datasets.find(session, owner, reference)
    if row is not None:
        return row
    name = reference.partition("@")[0]
    if name in BUNDLED and datasets.find(session, owner, name) is None:
        raise DatasetUnavailable(name, BUNDLED[name].remedy)
    raise SpecDatasetNotFound(reference)


def require_memory(session: Session, dataset: DatasetRow, spec: JobSpec, plan: NetworkPlan) -> WorkerMemory | None:
    """Refuse a job that no worker of the last day could ever hold in memory. Jobs for GPUs are not checked.

    Returns the largest worker, or None if no worker is known.

    Raises:
        NeedsMoreMemory: says which batch size would fit.
    """
    largest, needed = workers.find_largest(session), estimate_without_images(dataset, spec, plan)
    if largest is None or spec.resources.required_gpus or could_hold(largest.total_bytes, needed):
        return largest
    fitting = find_fitting_batch_size(
        spec, lambda other: estimate_without_images(dataset, other, plan), largest.total_bytes
    )
    raise NeedsMoreMemory(needed, largest.total_bytes, fitting)


def retry(
    session: Session,
    blobs: Blobs,
    owner: str,
    job_id: str,
    asked: RetrySpec,
    *,
    max_parameters: int,
) -> tuple[JobRow, DatasetRow]:
    """Queue a copy of a job that has ended, on the same version of its dataset unless a patch names another version.

    Raises:
        JobNotFound, JobNotFinished, StateGone, InvalidSpec, FileOfLaterRelease.
        Also everything that `create_job` raises.
    """
    ended, dataset = jobs.find_with_dataset(session, owner, job_id)
    if ended.status not in TERMINAL:
        raise JobNotFinished(ended.id, ended.status)
    try:
        spec = read_training_spec(ended)
    except SpecUnreadable as error:
        raise InvalidSpec(error.detail) from error
    continued = None
    same_dataset = True
    if asked.epochs is not None:
        state = next(iter(claims.get_checkpoints(session, ended.id)), None)
        if state is None:
            raise StateGone(ended.id)
        continued = Continuation(ended, state)
        spec = extend_spec(spec, ended.stop_reason, continued.state.epoch, asked.epochs)
    elif asked.remedy is not None:
        spec = _apply_patch(spec, _find_patch(session, blobs, ended, dataset, spec, asked.remedy), "/remedy")
        spec = spec.model_copy(update={"name": add_remedy_to_name(ended.name, asked.remedy)})
    elif asked.patch is not None:
        before = spec
        spec = _apply_patch(spec, asked.patch, "/patch")
        same_dataset = spec.dataset == before.dataset
        # A generated name says the dataset and the network, so others get a new one.
        was_generated = spec.name == before.generate_name(dataset.name, ended.id)
        if was_generated and not (same_dataset and spec.network == before.network):
            spec = spec.model_copy(update={"name": None})
    return create_job(
        session,
        blobs,
        owner,
        spec,
        max_parameters=max_parameters,
        dataset=dataset if same_dataset else None,
        retry_of=ended,
        continued=continued,
    )


def _find_patch(
    session: Session, blobs: Blobs, ended: JobRow, dataset: DatasetRow, spec: JobSpec, name: str
) -> dict[str, Any]:
    """Find a remedy's patch: preferably from the job's diagnosis, which knows its epochs, otherwise by its name."""
    found = [remedy for finding in diagnose_job(session, blobs, ended).findings for remedy in finding.remedies]
    patches = {remedy.name: remedy.patch for remedy in reversed(found) if remedy.patch is not None}
    if name in patches:
        return patches[name]
    if name not in REMEDIES and name in {remedy.name for remedy in found}:
        raise InvalidSpec.at("/remedy", f"{name!r} is advice. No change of a spec can follow it.")
    counts = count_splits(dataset, spec)
    base = make_base(session, ended.owner, spec, None if counts is None else counts["train"])
    outcome = resolve_remedy(name, base)
    if isinstance(outcome, NoChange):
        raise InvalidSpec.at("/remedy", f"{name!r} would change nothing. {outcome.why}")
    if outcome.candidates:
        raise InvalidSpec.at("/remedy", f"{name!r} searches among several trainings, so it needs a study.")
    return outcome.patch


def _apply_patch(spec: JobSpec, patch: dict[str, Any], pointer: str) -> JobSpec:
    before = spec.model_dump(mode="json")
    content = merge(before, patch)
    # How many towers the worker chose suits the network of that job, and others may not divide batches at all.
    if content.get("network") != before["network"] and "resources" not in patch:
        content["resources"] = before["resources"] | {"towers": "auto"}
    try:
        return JobSpec.model_validate(content)
    except ValidationError as error:
        raise make_patch_refusal(pointer, error.errors(include_url=False), content, JobSpec) from error
