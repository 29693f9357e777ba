"""What the API answers, as typed dictionaries. A newer service may send more fields; readers pass over them."""

from typing import Any, Literal, TypedDict

TERMINAL_STATUSES = frozenset({"succeeded", "failed", "cancelled"})


class DatasetReference(TypedDict):
    id: str
    name: str
    version: int


class Progress(TypedDict):
    """Whole epochs done, of how many, and the seconds that the rest should take (null where unknown)."""

    epoch: int
    epochs: int
    eta_s: float | None


class JobError(TypedDict):
    code: str
    detail: str


class Job(TypedDict):
    """A training job. Times are RFC 3339 in UTC."""

    id: str
    object: Literal["job"]
    name: str
    status: str
    stop_reason: str | None
    spec: dict[str, Any]
    dataset: DatasetReference
    parameters: int
    progress: Progress
    attempt: int
    failures: int
    error: JobError | None
    retry_of: str | None
    study_id: str | None
    engine: dict[str, Any] | None
    version: int
    created_at: str
    queued_at: str | None
    started_at: str | None
    finished_at: str | None


class Epoch(TypedDict):
    """One epoch, counted from 1. A figure that is not finite is null; `test_*` are there when asked for each epoch."""

    epoch: int
    train_loss: float | None
    train_accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    fit_loss: float | None
    fit_accuracy: float | None
    learning_rate: float | None
    seconds: float | None
    evaluation_seconds: float | None
    images_per_second: float | None


class SplitResult(TypedDict):
    """The kept weights on one split; `interval` holds the accuracy's 95 % bounds, as fractions."""

    loss: float | None
    accuracy: float
    count: int
    interval: tuple[float, float]


class Gap(TypedDict):
    """Training minus held-out accuracy, and held-out minus training loss: positive where held-out is worse."""

    accuracy: float | None
    loss: float | None


class Gaps(TypedDict):
    validation: Gap
    test: Gap | None


class Final(TypedDict):
    epoch: int
    train: SplitResult
    validation: SplitResult
    test: SplitResult | None
    gap: Gaps


class Metrics(TypedDict):
    object: Literal["metrics"]
    epochs: list[Epoch]
    final: Final | None


class Event(TypedDict):
    id: int
    object: Literal["event"]
    type: str
    level: Literal["info", "warning", "error"]
    message: str
    data: dict[str, Any]
    created_at: str


class QueuePosition(TypedDict):
    """Where a job waits: `position` counts from 1 and is null where the job is not queued."""

    object: str
    position: int | None
    ahead: int | None
    waiting_for: str | None
    estimated_start_s: float | None


class LayerEstimate(TypedDict):
    name: str
    shape: list[int]
    parameters: int


class Estimate(TypedDict):
    """What a spec would cost, without running it."""

    object: Literal["estimate"]
    spec: dict[str, Any]
    parameters: int
    layers: list[LayerEstimate]
    flops_per_image: int
    memory_bytes: int
    seconds_per_epoch: float | None


class Split(TypedDict):
    count: int
    per_class: list[int]


class Rejection(TypedDict):
    """Why an upload was not taken, and which file, array or row of it did it."""

    code: str
    detail: str
    member: str | None


class Dataset(TypedDict):
    """A version of a dataset; what is not known before it is ready is null."""

    id: str
    object: Literal["dataset"]
    name: str
    version: int
    status: str
    shape: tuple[int, int, int] | None
    dtype: str | None
    range: tuple[float, float] | None
    classes: list[str] | None
    splits: dict[str, Split] | None
    sha256: str | None
    size_bytes: int | None
    bundled: bool
    error: Rejection | None
    created_at: str
    description: str


class SplitIndices(TypedDict):
    """The images of each split, as indices in the order of the dataset's source."""

    train: list[int]
    validation: list[int]
    test: list[int]


class Example(TypedDict):
    """An image of a dataset, as a finding shows it."""

    split: str
    index: int
    member: str
    thumbnail: str


class AuditFinding(TypedDict):
    """Something that the check of an upload saw."""

    code: str
    severity: Literal["info", "warning", "critical"]
    numbers: dict[str, Any]
    explanation: str
    what_to_do: str
    examples: list[Example]
    pairs: list[tuple[Example, Example]]


class Audit(TypedDict):
    """What is known of a dataset before anything is trained on it, the gravest findings first."""

    object: Literal["audit"]
    dataset: DatasetReference
    sha256: str
    splits: dict[str, Split]
    findings: list[AuditFinding]
    statistics: dict[str, Any]
    checks: dict[str, Any]
    source: dict[str, Any]


class Remedy(TypedDict):
    """A change that should help; `patch` is a merge patch of the job's spec, null for histories from elsewhere."""

    name: str
    reason: str
    patch: dict[str, Any] | None


class DiagnosisFinding(TypedDict):
    code: str
    severity: Literal["info", "warning", "critical"]
    evidence: dict[str, Any]
    explanation: str
    remedies: list[Remedy]


class Diagnosis(TypedDict):
    """One verdict with its evidence; epochs count from 1."""

    object: Literal["diagnosis"]
    verdict: str
    best_epoch: int | None
    onset_epoch: int | None
    explanation: str
    findings: list[DiagnosisFinding]


class ClassScores(TypedDict):
    """Of one class; null where there is nothing to divide by. gap: recall in training less recall here."""

    label: str
    count: int
    precision: float | None
    recall: float | None
    f1: float | None
    gap: float | None


class Mistake(TypedDict):
    index: int
    label: str
    answer: str
    probability: float


class SplitScores(TypedDict):
    """Rows of the confusion matrix are labels, columns answers."""

    confusion: list[list[int]]
    per_class: list[ClassScores]
    calibration_error: float | None
    mistakes: list[Mistake]


class Confusion(TypedDict):
    object: Literal["confusion"]
    classes: list[str]
    splits: dict[str, SplitScores]
