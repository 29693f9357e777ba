"""The registry of kinds of background work: the spec and the properties of each kind.

`worker/supervision/worker.py` runs the jobs of each kind, and `models/store/transitions.py` handles their end.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import Field

from heldout.access.webhooks import SubjectObject
from heldout.fixes.changes import VersionChanges
from heldout.proofs.experiment import SplitsAgain
from heldout.spec.dataset import DatasetSpec
from heldout.spec.job import JobSpec
from heldout.spec.model_facts import ModelFacts
from heldout.spec.part import MAX_SEED, SpecPart
from heldout.stored.artifacts import ExportFormat
from heldout.work.memory import CHECK_BYTES, FEATURES_BYTES, SUSPECTS_BYTES


class JobKind(StrEnum):
    """What a job does."""

    TRAIN = "train"
    INGEST = "ingest"  # turns an upload into a dataset
    DERIVE = "derive"  # makes a dataset version from a ready version
    RELATE = "relate"  # finds the copies and groups of a ready dataset
    FEATURES = "features"  # computes the features of a ready dataset, and what they show
    SUSPECT = "suspect"  # finds the images of a ready dataset whose label is probably wrong
    EVALUATE = "evaluate"  # measures the base and the winner of a study on test
    EXPORT = "export"  # writes the model of a training for another runtime, and verifies it there
    CHECK_MODEL = "check_model"  # reads an uploaded model for the first time
    HEATMAP = "heatmap"  # shows where a training's model looks at one image
    MEASURE = "measure"  # measures an uploaded model on every split of a dataset
    EXTERNAL = "external_run"  # a training of a study that runs elsewhere
    EXPERIMENT = "experiment"  # a short training that decides between causes
    IDLE_EXPERIMENT = "idle_experiment"  # the same, while a worker has nothing else to do


class WorkerSpec(SpecPart):
    """Base of the specs of work other than training. Clients never see them."""

    max_runtime_s: float = Field(1800, gt=0)


class IngestSpec(WorkerSpec):
    """An upload to turn into a dataset."""

    dataset: DatasetSpec
    upload: str = Field(description="Key of the uploaded file in the blob store.")
    base: str | None = Field(None, description="Id of the version that its images are added to.")
    base_name: str = Field("", description="`name@version` of that.")
    base_sha256: str = Field("", description="Address of its content.")


class DeriveSpec(WorkerSpec):
    """A dataset version to derive from another version."""

    dataset: DatasetSpec = Field(description="As for an upload; its splits apply if all images are split again.")
    base: str = Field(description="Id of the version that it is derived from.")
    base_name: str = Field(description="`name@version` of the base.")
    base_sha256: str = Field(description="Address of the base's content.")
    changes: VersionChanges


class RelateSpec(WorkerSpec):
    """A dataset in which to find copies and groups."""

    group_by: str | None = Field(default=None, description="The group rule of the dataset's upload.")


class SuspectSpec(WorkerSpec):
    """A dataset in which to find wrong labels."""

    seed: int = Field(0, ge=0, le=MAX_SEED)


class FeaturesSpec(WorkerSpec):
    """A dataset whose features to compute."""


class EvaluateSpec(WorkerSpec):
    """The trainings of a study whose models to measure once on the test split."""

    max_runtime_s: float = Field(3600, gt=0)
    base: tuple[str, ...] = Field(min_length=1, strict=False, description="Ids of jobs that have a model.")
    winner: tuple[str, ...] = Field(min_length=1, strict=False)


class ExportSpec(WorkerSpec):
    """A model to write for another runtime."""

    job_id: str = Field(
        description="The training whose model it is, or the evaluation of the study whose ensemble it is."
    )
    format: ExportFormat = Field(strict=False)


class HeatmapSpec(WorkerSpec):
    """An image that a training's model has answered. The heatmap shows what in it speaks for some classes."""

    job_id: str = Field(description="The training.")
    index: int = Field(description="Position of the image in the dataset.")
    classes: tuple[int, ...] = Field(strict=False, description="Positions of the answer and of the label.")


class CheckModelSpec(WorkerSpec):
    """An uploaded model to read for the first time, which takes seconds, or longer for a large model."""

    max_runtime_s: float = Field(900, gt=0)
    model: str = Field(description="Its id.")
    key: str = Field(description="Key of its file in the blob store.")
    max_parameters: int | None = Field(None, description="The most that an architecture without weights may have.")
    converts: bool = Field(False, description="Whether the file has PyTorch's weights, to be converted to Keras.")
    fetches: str | None = Field(None, description="The network of `KERAS_NETWORKS` to fetch, which has no file yet.")


class MeasureSpec(WorkerSpec):
    """An uploaded model to measure. Clients see it as an evaluation."""

    max_runtime_s: float = Field(6 * 3600, gt=0)
    model: str = Field(description="Its id.")
    model_name: str
    key: str = Field(description="Key of its file in the blob store.")
    facts: ModelFacts


class ExternalRunSpec(WorkerSpec):
    """A training of a study that a runner asks for and tells about. Workers never claim it."""

    arm: str
    parameters: dict[str, Any] = Field({})
    seed: int
    fold: int | None = None


class ExperimentSpec(JobSpec):
    """A short training whose figures decide between causes of another job's results."""

    proves: str = Field(description="Id of the job whose verdict it belongs to.")
    variant: str = Field(description="Which of the proof's trainings it is.")
    splits_again: SplitsAgain | None = Field(None, description="Which images are divided into new splits.")
    leave_out: tuple[int, ...] = Field((), strict=False, description="Positions of training images to do without.")


class IdleExperimentSpec(ExperimentSpec):
    """The same training, which no one has asked for."""


# The version of stored specs: workers leave jobs with a later version to newer workers. It must grow with every change
# after which an earlier release could not read, or would misread, a spec that this release stores.
SPEC_VERSION = 3

# The specs of all kinds: one type for each.
WorkSpec = (
    JobSpec
    | IngestSpec
    | DeriveSpec
    | RelateSpec
    | FeaturesSpec
    | SuspectSpec
    | EvaluateSpec
    | ExportSpec
    | HeatmapSpec
    | CheckModelSpec
    | MeasureSpec
    | ExternalRunSpec
    | ExperimentSpec
    | IdleExperimentSpec
)


@dataclass(frozen=True)
class Kind:
    """One kind of background work."""

    spec: type[WorkSpec]
    success_message: str  # message of the event of its success
    priority: int = 0  # default priority of its jobs
    id_prefix: str = "job"  # prefix of the ids of its jobs
    is_listed: bool = False  # whether clients see its jobs under /v1/jobs
    events_about: SubjectObject | None = None  # subject of its events; None if no stream has them
    takes_slot: bool = True  # whether its jobs take a worker's slot; others run in addition, one at a time
    is_check: bool = False  # whether its jobs only read data: these leave part of the slots to others
    is_quick_if_small: bool = False  # whether its jobs may run alongside full slots if they need little memory
    memory_bytes: int | None = None  # memory of each of its jobs; None if it depends on the spec
    runs_elsewhere: bool = False  # whether clients run its jobs, and workers never claim them
    # While a job of these kinds waits, even for another worker, no job of this kind is claimed. Running ones stop
    # within a second and are queued again. Estimates of when jobs of these kinds start ignore this kind.
    yields_to: tuple[JobKind, ...] = ()


# Above any training's priority: such jobs are short, and many trainings may be waiting for them.
HOLDS_UP_OTHERS = 1000

# Work in slots that someone waits for.
_ASKED_FOR = (
    JobKind.TRAIN,
    JobKind.EXPERIMENT,
    JobKind.INGEST,
    JobKind.DERIVE,
    JobKind.EVALUATE,
    JobKind.EXPORT,
    JobKind.HEATMAP,
    JobKind.CHECK_MODEL,
    JobKind.MEASURE,
)

KINDS: Mapping[JobKind, Kind] = {
    JobKind.TRAIN: Kind(JobSpec, "Trained and measured.", is_listed=True, events_about=SubjectObject.JOB),
    JobKind.INGEST: Kind(
        IngestSpec, "Ingested.", HOLDS_UP_OTHERS, is_check=True, is_quick_if_small=True, memory_bytes=CHECK_BYTES
    ),
    JobKind.DERIVE: Kind(
        DeriveSpec, "Derived.", HOLDS_UP_OTHERS, is_check=True, is_quick_if_small=True, memory_bytes=CHECK_BYTES
    ),
    # It takes no slot, so trainings do not count it among the jobs before them.
    JobKind.RELATE: Kind(
        RelateSpec, "Copies and groups found.", -1000, takes_slot=False, is_check=True, memory_bytes=CHECK_BYTES
    ),
    # Before the search for wrong labels, which takes longer.
    JobKind.FEATURES: Kind(
        FeaturesSpec,
        "Features computed.",
        -190,
        is_check=True,
        memory_bytes=FEATURES_BYTES,
        yields_to=(JobKind.TRAIN, JobKind.EXPERIMENT),
    ),
    JobKind.SUSPECT: Kind(
        SuspectSpec,
        "Suspected labels found.",
        -200,
        is_check=True,
        memory_bytes=SUSPECTS_BYTES,
        # It uses features, so it waits for them.
        yields_to=(JobKind.TRAIN, JobKind.EXPERIMENT, JobKind.FEATURES),
    ),
    JobKind.EVALUATE: Kind(EvaluateSpec, "Measured on test."),
    JobKind.EXPORT: Kind(ExportSpec, "Exported and verified.", HOLDS_UP_OTHERS),
    JobKind.HEATMAP: Kind(HeatmapSpec, "Heatmap computed.", HOLDS_UP_OTHERS, is_check=True, is_quick_if_small=True),
    JobKind.CHECK_MODEL: Kind(CheckModelSpec, "Read.", HOLDS_UP_OTHERS, is_check=True, is_quick_if_small=True),
    JobKind.MEASURE: Kind(
        MeasureSpec, "Measured on every split.", id_prefix="evl", events_about=SubjectObject.EVALUATION
    ),
    JobKind.EXPERIMENT: Kind(ExperimentSpec, "Trained and measured.", id_prefix="exp"),
    # Below searches through datasets.
    JobKind.IDLE_EXPERIMENT: Kind(
        IdleExperimentSpec,
        "Trained and measured.",
        -300,
        id_prefix="exp",
        yields_to=(*_ASKED_FOR, JobKind.FEATURES, JobKind.SUSPECT),
    ),
    JobKind.EXTERNAL: Kind(ExternalRunSpec, "Result reported.", id_prefix="run", takes_slot=False, runs_elsewhere=True),
}

_KIND_OF = {about.spec: kind for kind, about in KINDS.items()}
EXPERIMENT_KINDS = (JobKind.EXPERIMENT, JobKind.IDLE_EXPERIMENT)
LISTED_KINDS = tuple(kind for kind, about in KINDS.items() if about.is_listed)
KINDS_IN_SLOTS = tuple(kind for kind, about in KINDS.items() if about.takes_slot)
CHECKS_IN_SLOTS = tuple(kind for kind in KINDS_IN_SLOTS if KINDS[kind].is_check)
CHECKS_QUICK_IF_SMALL = tuple(kind for kind in CHECKS_IN_SLOTS if KINDS[kind].is_quick_if_small)
KINDS_BESIDE_SLOTS = tuple(kind for kind, about in KINDS.items() if not about.takes_slot and not about.runs_elsewhere)
KINDS_OF_WORKERS = tuple(kind for kind, about in KINDS.items() if not about.runs_elsewhere)


def list_kinds_before(kinds: Collection[JobKind]) -> tuple[JobKind, ...]:
    """List the kinds to which any of these yields."""
    return tuple(other for other in KINDS if any(other in KINDS[kind].yields_to for kind in kinds))


def leave_out_yielding(kinds: Iterable[JobKind], waiting: Collection[JobKind]) -> tuple[JobKind, ...]:
    """Leave out the kinds that yield to a kind of which jobs wait."""
    return tuple(kind for kind in kinds if not set(KINDS[kind].yields_to) & set(waiting))


T = TypeVar("T")


def require_all_kinds(entries: Mapping[JobKind, T], kinds: Collection[JobKind] = tuple(KINDS)) -> Mapping[JobKind, T]:
    """Return a registry after checking that it has an entry for each kind. Raises TypeError if one is missing."""
    if missing := set(kinds) - entries.keys():
        raise TypeError(f"There is no entry for the kinds {', '.join(sorted(missing))}.")
    return entries


def get_kind(spec: WorkSpec) -> JobKind:
    """Return the kind of work that a spec describes: each kind has its own type of spec."""
    return _KIND_OF[type(spec)]
