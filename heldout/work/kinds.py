"""The registry of kinds of background work: what a job of each kind is asked to do, and what sets it apart.

What runs a kind's jobs is in `worker/supervision/runners.py`, what follows their end in `models/store/transitions.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from pydantic import Field

from heldout.access.event_types import SubjectObject
from heldout.fixes.changes import VersionChanges
from heldout.spec.dataset import DatasetSpec
from heldout.spec.job import MAX_SEED, JobSpec, SpecPart
from heldout.spec.model_facts import ModelFacts
from heldout.stored.artifacts import ExportFormat
from heldout.work.memory import CHECK_BYTES, SUSPECTS_BYTES


class JobKind(StrEnum):
    """What a job does."""

    TRAIN = "train"
    INGEST = "ingest"  # makes a dataset of an upload
    DERIVE = "derive"  # makes a version of a dataset from one that is ready
    RELATE = "relate"  # finds the copies and groups of a dataset that is ready
    SUSPECT = "suspect"  # finds the images of a dataset that is ready whose label is probably wrong
    EVALUATE = "evaluate"  # measures the base and the winner of a study on test
    EXPORT = "export"  # writes the model of a training for another runtime, and proves it there
    CHECK_MODEL = "check_model"  # reads an uploaded model for the first time
    MEASURE = "measure"  # measures an uploaded model on every split of a dataset


class WorkerSpec(SpecPart):
    """What a worker is told about work that is no training. Clients never see it."""

    max_runtime_s: float = Field(1800, gt=0)


class IngestSpec(WorkerSpec):
    """An upload that becomes a dataset."""

    dataset: DatasetSpec
    upload: str = Field(description="Key of the uploaded file in the blob store.")
    base: str | None = Field(None, description="Id of the version that its images are added to.")
    base_name: str = Field("", description="`name@version` of that.")
    base_sha256: str = Field("", description="Address of its content.")


class DeriveSpec(WorkerSpec):
    """A version of a dataset that is derived from another one."""

    dataset: DatasetSpec = Field(description="As for an upload; its splits are cut so if they are cut anew.")
    base: str = Field(description="Id of the version that it is derived from.")
    base_name: str = Field(description="`name@version` of that.")
    base_sha256: str = Field(description="Address of its content.")
    changes: VersionChanges


class RelateSpec(WorkerSpec):
    """A dataset whose copies and groups are to be found."""

    group_by: str | None = Field(default=None, description="The group rule of the dataset's upload.")


class SuspectSpec(WorkerSpec):
    """A dataset whose wrong labels are to be found."""

    seed: int = Field(0, ge=0, le=MAX_SEED)


class EvaluateSpec(WorkerSpec):
    """The trainings of a study whose models are to meet the test split, once."""

    max_runtime_s: float = Field(3600, gt=0)
    base: tuple[str, ...] = Field(min_length=1, strict=False, description="Ids of jobs that have left a model.")
    winner: tuple[str, ...] = Field(min_length=1, strict=False)


class ExportSpec(WorkerSpec):
    """A model that is to be written for another runtime."""

    job_id: str = Field(
        description="The training whose model it is, or the evaluation of the study whose ensemble it is."
    )
    format: ExportFormat = Field(strict=False)


class CheckModelSpec(WorkerSpec):
    """An uploaded model that is to be read for the first time: that takes seconds, of a large one some more."""

    max_runtime_s: float = Field(900, gt=0)
    model: str = Field(description="Its id.")
    key: str = Field(description="Key of its file in the blob store.")


class MeasureSpec(WorkerSpec):
    """An uploaded model that is to be measured. Clients see it as an evaluation."""

    max_runtime_s: float = Field(6 * 3600, gt=0)
    model: str = Field(description="Its id.")
    model_name: str
    key: str = Field(description="Key of its file in the blob store.")
    facts: ModelFacts


# Which releases can read the specs of jobs: a worker leaves those of a later version to newer workers. It grows with
# every change after which an earlier release could not read, or would misread, a spec that this one stores.
SPEC_VERSION = 1

# What jobs of all kinds are asked to do: one type for each kind.
WorkSpec = (
    JobSpec
    | IngestSpec
    | DeriveSpec
    | RelateSpec
    | SuspectSpec
    | EvaluateSpec
    | ExportSpec
    | CheckModelSpec
    | MeasureSpec
)


@dataclass(frozen=True)
class Kind:
    """One kind of background work."""

    spec: type[WorkSpec]  # what the job is asked to do
    success_message: str  # of the event of its success
    priority: int = 0  # of its jobs, where they are not given another one
    id_prefix: str = "job"  # of its jobs
    is_listed: bool = False  # whether clients see its jobs under /v1/jobs
    events_about: SubjectObject | None = None  # what its events tell owners of; None where no stream has them
    takes_slot: bool = True  # whether its jobs take one of a worker's slots; others run beside them, one at a time
    is_check: bool = False  # whether its jobs look at data only: these leave part of the slots to others
    memory_bytes: int | None = None  # that each of its jobs takes; None where that depends on what it is asked to do


# Above any training's: what such a job holds up is short, and many trainings may wait for it.
HOLDS_UP_OTHERS = 1000

KINDS: Mapping[JobKind, Kind] = {
    JobKind.TRAIN: Kind(JobSpec, "Trained and measured.", is_listed=True, events_about=SubjectObject.JOB),
    JobKind.INGEST: Kind(IngestSpec, "Ingested.", HOLDS_UP_OTHERS, is_check=True, memory_bytes=CHECK_BYTES),
    JobKind.DERIVE: Kind(DeriveSpec, "Derived.", HOLDS_UP_OTHERS, is_check=True, memory_bytes=CHECK_BYTES),
    # No training counts it among those before it: it takes no slot.
    JobKind.RELATE: Kind(
        RelateSpec, "Copies and groups found.", -1000, takes_slot=False, is_check=True, memory_bytes=CHECK_BYTES
    ),
    # Every training that waits comes first.
    JobKind.SUSPECT: Kind(SuspectSpec, "Suspected labels found.", -200, is_check=True, memory_bytes=SUSPECTS_BYTES),
    JobKind.EVALUATE: Kind(EvaluateSpec, "Measured on test."),
    JobKind.EXPORT: Kind(ExportSpec, "Exported and proven.", HOLDS_UP_OTHERS),
    JobKind.CHECK_MODEL: Kind(CheckModelSpec, "Read.", HOLDS_UP_OTHERS, is_check=True),
    JobKind.MEASURE: Kind(
        MeasureSpec, "Measured on every split.", id_prefix="evl", events_about=SubjectObject.EVALUATION
    ),
}

_KIND_OF = {about.spec: kind for kind, about in KINDS.items()}
LISTED_KINDS = tuple(kind for kind, about in KINDS.items() if about.is_listed)
KINDS_IN_SLOTS = tuple(kind for kind, about in KINDS.items() if about.takes_slot)
CHECKS_IN_SLOTS = tuple(kind for kind in KINDS_IN_SLOTS if KINDS[kind].is_check)
KINDS_BESIDE_SLOTS = tuple(kind for kind, about in KINDS.items() if not about.takes_slot)


T = TypeVar("T")


def require_all_kinds(entries: Mapping[JobKind, T]) -> Mapping[JobKind, T]:
    """A registry of something that every kind has. Raises TypeError where one lacks it."""
    if missing := KINDS.keys() - entries.keys():
        raise TypeError(f"There is no entry for the kinds {', '.join(sorted(missing))}.")
    return entries


def get_kind(spec: WorkSpec) -> JobKind:
    """The kind of work that is asked for: each has a spec of its own type."""
    return _KIND_OF[type(spec)]
