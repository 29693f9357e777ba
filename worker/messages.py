"""The messages between the supervisor and the process that trains for one job."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self

from analysis.studies.state import Scores, TestScores
from heldout.lifecycle.job import FailureCode, StopReason
from heldout.spec.backbone import Backbone
from heldout.spec.job import JobSpec
from heldout.spec.network import Pixels
from heldout.stored.artifacts import ArtifactFormat, ArtifactName, ExportFormat
from heldout.stored.gap import GapOnTest
from heldout.stored.results import FinalView
from heldout.views.model import ExportReportView
from heldout.views.study import EnsembleView

# The output of a process, in the scratch folder of its attempt.
LOG_FILE = "log.txt"


@dataclass(frozen=True)
class AssignedBackbone:
    """The uploaded network of a job: a folder filled by `worker/training/uploaded_models/keras_model.py`."""

    folder: Path
    pixels: Pixels
    known: Backbone | None = None  # what its facts say about it; without them it gets one tower


@dataclass(frozen=True)
class AssignedDataset:
    """The files of a dataset for a process. relations, names, looks: None if unknown."""

    folder: Path  # in the internal format (analysis/arrays/dataset.py)
    sha256: str = ""
    relations: Path | None = None  # file of its relations (analysis/arrays/relations.py)
    names: Path | None = None  # file with the name of each image in the upload (analysis/arrays/file_names.py)
    columns: Path | None = None  # file of its columns (analysis/arrays/columns.py)
    looks: Path | None = None  # file of what its features show (heldout/stored/looks.py)


@dataclass(frozen=True)
class AssignedMachine:
    """The resources of a training."""

    device: Literal["cpu", "gpu"] = "cpu"
    gpus: tuple[str, ...] = ()  # NVIDIA's ids of those that the job has
    precision: Literal["auto", "float32", "mixed"] = "float32"  # auto: mixed where the network is large enough to gain
    threads: int = 1  # intra-op threads
    towers: int | Literal["auto"] = 1  # auto: as many as make its steps faster
    cores: int = 1  # that the worker may use
    resident_bytes: int | None = None  # larger images are read from their file


@dataclass(frozen=True)
class AssignedStart:
    """The files in its scratch folder that a training starts from."""

    checkpoint: Path | None = None  # to continue from
    initial: Path | None = None  # a model file with its initial weights
    initial_layers: tuple[str, ...] = ()  # the layers that take these weights, by name
    backbone: AssignedBackbone | None = None


@dataclass(frozen=True)
class AssignedFeatures:
    """This machine's cache of the features that frozen parts of networks give."""

    folder: Path
    cap_bytes: int
    owner: str  # of the job; features are shared by jobs of the same owner only


@dataclass(frozen=True)
class Assignment:
    """Everything that a training process needs. It gets no credentials: it reads arrays and writes to `scratch`."""

    job_id: str
    spec: JobSpec  # completed: no default and no seed is left open
    dataset: AssignedDataset
    scratch: Path  # folder of this attempt, created and removed by the supervisor
    machine: AssignedMachine = AssignedMachine()
    start: AssignedStart = AssignedStart()
    features: AssignedFeatures | None = None  # None if there is no cache
    for_study: bool = False  # whether the job is compared with others, image by image
    is_experiment: bool = False  # whether only its figures are kept

    def differs_only_by_seed(self, other: object) -> bool:
        """Return whether one process may train both jobs: also, they must have the same owner."""
        is_owner_known = self.features is not None
        return is_owner_known and isinstance(other, Assignment) and self._drop_own() == other._drop_own()

    def _drop_own(self) -> "Assignment":
        training = self.spec.training.model_copy(update={"seed": None})
        spec = self.spec.model_copy(update={"training": training, "name": None, "metadata": {}})
        dataset = replace(self.dataset, relations=None, names=None, columns=None)
        return replace(self, job_id="", spec=spec, dataset=dataset, scratch=Path())


@dataclass(frozen=True)
class SuspectAssignment:
    """Everything that the search for wrong labels in a dataset needs. It writes to `scratch`."""

    dataset: AssignedDataset
    scratch: Path  # folder of this attempt, created and removed by the supervisor
    seed: int
    threads: int  # networks trained at the same time
    features: Path | None = None  # file of its features (analysis/arrays/features.py); None if they are not computed


@dataclass(frozen=True)
class FeaturesAssignment:
    """Everything that computing the features of a dataset needs. It writes to `scratch`."""

    dataset: AssignedDataset
    scratch: Path  # folder of this attempt, created and removed by the supervisor
    model: Path  # `.keras`, pretrained: from images of any size, with values from 0 to 255, to a feature map
    model_name: str
    model_sha256: str
    cache: AssignedFeatures  # where complete blocks are kept for the next attempt
    threads: int


@dataclass(frozen=True)
class AssignedModel:
    """The model of one of a study's jobs, as a file."""

    job_id: str
    file: Path  # `.keras`, in `scratch`
    spec: JobSpec  # which says what images it was trained on


@dataclass(frozen=True)
class EvaluateAssignment:
    """Everything that measuring the models of a study needs. It writes nothing but its log."""

    dataset: AssignedDataset
    base: tuple[AssignedModel, ...]  # all of one network
    winner: tuple[AssignedModel, ...]  # all of one network
    with_validation: bool  # whether all of them have the dataset's own validation split
    resident_bytes: int | None  # larger images are read from their file


@dataclass(frozen=True)
class ExportAssignment:
    """Everything that exporting a model for another runtime needs. It writes to `scratch`.

    Several models become one, which returns the mean of their probabilities.
    """

    source_id: str  # the training, or the study whose ensemble it is
    format: ExportFormat
    spec: JobSpec  # of the training, or of one of them: it says what the test images are
    dataset: AssignedDataset
    scratch: Path  # folder of this attempt, created and removed by the supervisor
    card: str  # the model card, in Markdown
    models: tuple[Path, ...]  # the trainings' `.keras` files, in `scratch`
    predictions: tuple[Path, ...]  # their `predictions.npz`, in `scratch`; none if one is missing


@dataclass(frozen=True)
class HeatmapAssignment:
    """Everything that the heatmap of an image needs. It writes to `scratch`."""

    dataset: AssignedDataset
    scratch: Path  # folder of this attempt, created and removed by the supervisor
    model: Path  # the training's `.keras` file, in `scratch`
    index: int  # position of the image in the dataset
    classes: tuple[int, ...]  # positions of the classes: a map for each


AnyAssignment = (
    Assignment | FeaturesAssignment | SuspectAssignment | EvaluateAssignment | ExportAssignment | HeatmapAssignment
)


# --- from the training process -------------------------------------------------------------------


class FromTraining:
    """A message of the training process."""


@dataclass(frozen=True)
class Alive(FromTraining):
    """The process is running; a fork that hangs never sends this."""


@dataclass(frozen=True)
class Started(FromTraining):
    """The network is built; `engine` is the job's `engine` object (device, threads, towers, precision, versions, host).

    split_digests: SHA-256 of each held-out split that belongs to the job and not to the dataset.
    """

    engine: dict[str, Any]
    split_digests: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FirstStep(FromTraining):
    """The first gradient step of this attempt is complete."""


@dataclass(frozen=True)
class EpochDone(FromTraining):
    """A complete epoch, measured. `values` has the contract's names; a figure that is not finite is None."""

    epoch: int
    values: dict[str, float | None]
    checkpoint: Path | None  # the checkpoint written after it
    usual_s: float = 0.0  # seconds of such an epoch, measuring included, without the work that only the first one has
    inside: dict[str, Any] | None = None  # an `EpochInside`, as JSON


@dataclass(frozen=True)
class CheckpointWritten(FromTraining):
    """All state was written in the middle of a long epoch: its complete epochs, and steps of the next one."""

    checkpoint: Path
    epoch: int
    step: int


@dataclass(frozen=True)
class Overfits(FromTraining):
    """After `epoch` the guard has seen overfitting for the first time."""

    epoch: int
    best_epoch: int
    explanation: str


@dataclass(frozen=True)
class Warned(FromTraining):
    """A warning for the job's owner that does not end the job."""

    message: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedFile(FromTraining):
    """A file in `scratch` that a finished training leaves behind; it becomes an artifact of the job."""

    name: ArtifactName
    format: ArtifactFormat
    path: Path


@dataclass(frozen=True)
class Finished(FromTraining):
    """The training succeeded. `final` has the results of the kept weights.

    other_reads: held-out splits on which weights other than the kept ones were measured at the end, each with the epoch
    of those weights.
    scores: for a job of a study, the answers of its kept weights to each validation image.
    recalls: of an experiment, for each class: validation images answered correctly, and all of them.
    """

    final: FinalView
    stop_reason: StopReason
    files: tuple[TrainedFile, ...]
    other_reads: tuple[tuple[str, int], ...] = ()
    scores: Scores | None = None
    recalls: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class ResultWritten(FromTraining):
    """A search for wrong labels, or a heatmap, succeeded; its result is a file in `scratch`."""

    file: Path


@dataclass(frozen=True)
class FeaturesFound(FromTraining):
    """The features of a dataset, and what they show, are files in `scratch`."""

    features: Path
    looks: Path


@dataclass(frozen=True)
class Evaluated(FromTraining):
    """Models of a study were measured on test: each model, and base and winner as ensembles.

    gaps: for each job the part of its gap that test shows; jobs are missing if that could not be measured.
    """

    tested: TestScores
    ensemble: EnsembleView
    gaps: Mapping[str, GapOnTest]


@dataclass(frozen=True)
class Exported(FromTraining):
    """The model was written for another runtime, loaded there again, and gives the same answers.

    file: in `scratch`.
    """

    file: Path
    report: ExportReportView


@dataclass(frozen=True)
class Stopped(FromTraining):
    """The answer to a StopCause: a checkpoint is written (None if nothing was trained), and the process ends.

    model: the kept weights, if the job is cancelled or paused after a complete epoch.
    """

    checkpoint: Path | None
    epoch: int = 0  # whole epochs in it
    step: int = 0  # steps of the next epoch in it
    model: TrainedFile | None = None


@dataclass(frozen=True)
class Failed(FromTraining):
    """The training cannot continue."""

    code: FailureCode
    detail: str

    @classmethod
    def of_a_fault(cls, error: BaseException) -> Self:
        """Describe an internal error to the owner; the error's own text may name files and quote uploads."""
        return cls(
            FailureCode.INTERNAL, f"The worker had an internal error ({type(error).__name__}); its log says where."
        )


# --- from the supervisor ---------------------------------------------------------------------------


class StopCause(StrEnum):
    """Asks an attempt to stop within half a second, before its work is complete, and says why.

    A deadline finishes with the complete epochs; other causes write a checkpoint.
    """

    CANCEL = "cancel"  # a client cancels the job; without a whole epoch its process is killed
    PAUSE = "pause"  # a client pauses the job
    DEADLINE = "deadline"  # `limits.max_runtime_s` has passed
    RELEASE = "release"  # the worker stops
