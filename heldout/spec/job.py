"""The job spec: what a client requests, frozen, bounded and complete."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from heldout.metrics import Measure
from heldout.spec.augmentation import AugmentationSpec, Fraction
from heldout.spec.backbone import Backbone
from heldout.spec.network import MAX_BLOCKS, MAX_LISTED_BLOCKS, AnyNetworkSpec
from heldout.spec.objective import Costs, GroupColumn, MonitoredFigure, get_followed, require_parts
from heldout.spec.optimization import (
    ConstantSchedule,
    CosineSchedule,
    LossSpec,
    OptimizerSpec,
    PlateauSchedule,
    Schedule,
    default_to_constant,
)
from heldout.spec.part import MAX_SEED, SpecPart


class ValidationSpec(SpecPart):
    """Pool train and validation and split them into `folds` parts; part `fold` validates and the rest trains."""

    folds: int = Field(ge=2, le=20)
    fold: int = Field(0, ge=0, le=19, description="Counts from 0.")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="A different seed gives different folds.")

    @field_validator("fold")
    @classmethod
    def _check_exists(cls, fold: int, info: ValidationInfo) -> int:
        folds = info.data.get("folds")
        if folds is not None and fold >= folds:
            raise ValueError(f"`fold` is {fold}; with {folds} folds it is 0 to {folds - 1}")
        return fold


class TrainOnAllSpec(SpecPart):
    """Train on train and validation together: nothing validates, so nothing can be chosen by validation."""

    use: Literal["train"] = Field(description="What the validation images are used for.")


def _get_validation_tag(data: Any) -> str:
    is_for_training = isinstance(data, dict) and data.get("use") is not None
    return "train_on_all" if is_for_training or isinstance(data, TrainOnAllSpec) else "cut_anew"


Validation = Annotated[
    Annotated[ValidationSpec, Tag("cut_anew")] | Annotated[TrainOnAllSpec, Tag("train_on_all")],
    Discriminator(_get_validation_tag),
]


def trains_on_all(spec: Mapping[str, Any]) -> bool:
    """Return whether the job with this complete spec (as JSON) has no validation images."""
    return (spec.get("validation") or {}).get("use") is not None


MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]
MAX_PAIRS = 16
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=MAX_PAIRS)]
MAX_NAME_CHARACTERS = 128
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
Priority = Annotated[int, Field(ge=-100, le=100)]
Device = Literal["auto", "cpu", "gpu"]


class EarlyStoppingSpec(SpecPart):
    """Ends the training after `patience` epochs in which the monitored figure did not improve by `min_delta`."""

    monitor: MonitoredFigure | None = Field(
        None, description="null: the job's `objective`, or `validation_loss` if it has none."
    )
    patience: int = Field(5, ge=1, le=100)
    min_delta: float = Field(0.0, ge=0, le=1000)
    restore_best: bool = True


ClassWeight = Annotated[float, Field(gt=0, le=1000)]
# Limits of a dataset: number of classes, characters per class name, and bytes of all names together.
MAX_CLASSES, MAX_CLASS_CHARACTERS, MAX_CLASS_NAMES_BYTES = 1000, 128, 64 * 1024
ClassWeights = Annotated[
    dict[Annotated[str, Field(max_length=MAX_CLASS_CHARACTERS)], ClassWeight], Field(max_length=MAX_CLASSES)
]


class BatchNormSpec(SpecPart):
    """How layers with batch normalization average the mean and the variance that they use after training."""

    momentum: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Share of the old average that each step keeps; null: as each layer has it, in Keras 0.99. Such "
        "averages need some 500 steps to catch up, with 0.9 some 50.",
    )


class TrainingSpec(SpecPart):
    """How the network is trained."""

    epochs: int = Field(10, ge=1, le=1000)
    batch_size: int = Field(32, ge=1, le=1024)
    optimizer: OptimizerSpec = OptimizerSpec()
    loss: LossSpec = LossSpec()
    schedule: Schedule = ConstantSchedule()
    early_stopping: EarlyStoppingSpec | None = None
    class_weights: Literal["balanced"] | ClassWeights | None = Field(
        None, description="`balanced`: images / (classes × images of the class); or a weight for each label."
    )
    sampling: Literal["uniform", "balanced"] = Field(
        "uniform",
        description="`uniform`: each epoch takes each image once. `balanced`: it takes as many images of each class, "
        "and as many in total, so images of rare classes come again.",
    )
    label_smoothing: Fraction = 0.0
    mixup: float = Field(
        0.0, ge=0, le=1, description="Alpha of the Beta distribution for blending two images; 0 = off."
    )
    cutmix: float = Field(
        0.0, ge=0, le=1, description="The same for pasting a rectangle from another image; not with `mixup`."
    )
    ema_decay: float | None = Field(
        None, gt=0, lt=1, description="Decay of the moving average of the weights, which is then measured and kept."
    )
    batch_norm: BatchNormSpec = BatchNormSpec()
    train_limit: int | None = Field(
        None,
        ge=1,
        le=10**9,
        description="Train on at most this many images, stratified, after splitting off validation.",
    )
    on_overfit: Literal["none", "warn", "stop", "stop_and_restore"] = "none"
    precision: Literal["auto", "float32", "mixed"] = Field(
        "auto", description="`mixed` computes in 16 bits with float32 weights; the choice of `auto` is written back."
    )
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="Generated and returned if absent.")

    @property
    def chooses_by_validation(self) -> bool:
        """Whether validation figures decide how the training continues, or which weights it keeps."""
        return (
            self.early_stopping is not None
            or self.on_overfit in {"stop", "stop_and_restore"}
            or isinstance(self.schedule, PlateauSchedule)
        )

    @field_validator("cutmix")
    @classmethod
    def _check_single_mixing(cls, cutmix: float, info: ValidationInfo) -> float:
        mixup = info.data.get("mixup")
        if cutmix and mixup:
            raise ValueError(f"`mixup` is {mixup} and `cutmix` {cutmix}; set one of them to 0, or leave it out")
        return cutmix

    _default_to_constant = field_validator("schedule", mode="before")(default_to_constant)

    @field_validator("schedule")
    @classmethod
    def _check_warm_up(cls, schedule: Schedule, info: ValidationInfo) -> Schedule:
        epochs = info.data.get("epochs")
        if isinstance(schedule, CosineSchedule) and epochs is not None and schedule.warmup_epochs >= epochs:
            raise PydanticCustomError(
                "value_error",
                "`warmup_epochs` is {warmup_epochs}; it must be below `epochs` ({epochs})",
                {"warmup_epochs": schedule.warmup_epochs, "epochs": epochs, "path": ("warmup_epochs",)},
            )
        return schedule


class InitialSpec(SpecPart):
    """Weights of another job or an uploaded model; layers at the same position with equal shapes start from them."""

    job: str | None = Field(None, max_length=40, description="`job_…`, of the same owner.")
    model: str | None = Field(None, max_length=40, description="`mod_…`, an uploaded Keras model of the same owner.")
    freeze_blocks: int = Field(
        0, ge=0, le=MAX_BLOCKS, description="Number of blocks, from the first, that are not trained."
    )

    @model_validator(mode="after")
    def _check_names_one(self) -> "InitialSpec":
        if (self.job is None) == (self.model is None):
            raise ValueError("name either `job` or `model`")
        return self


class EvaluationSpec(SpecPart):
    """When the training and the test split are measured; validation is measured after each epoch."""

    train: Literal["every_epoch", "final"] = Field(
        "every_epoch", description="`final`: only at the end, so epochs have no training figures except `fit`'s."
    )
    test: Literal["final", "every_epoch", "never"] = Field("final", description="Test figures never choose anything.")
    recount_batch_norm: bool = Field(
        False,
        description="Before each evaluation, the averages of batch normalization are recomputed over all training "
        "images, as stochastic weight averaging does. They are part of the kept weights.",
    )


class LimitsSpec(SpecPart):
    """How many seconds the job may run and wait, and how long it is kept."""

    max_runtime_s: int = Field(86_400, ge=1, le=604_800)
    max_pending_s: int | None = Field(None, ge=1, le=604_800)
    keep_s: int | None = Field(
        None, ge=60, le=316_224_000, description="The job and its files are deleted this long after its end."
    )


class ResourcesSpec(SpecPart):
    """What the job runs on; `auto` is decided when it starts and written back."""

    device: Device = "auto"
    gpus: int = Field(1, ge=1, le=8, description="Number of GPUs, if it runs on GPUs; each takes a part of the batch.")
    # Not Literal[1, 2], which accepts true as 1.
    towers: Literal["auto"] | Annotated[int, Field(ge=1, le=16)] = "auto"

    @property
    def required_device(self) -> Device:
        """The kind of workers that may run the job. `auto` with several GPUs means GPUs, never a CPU."""
        return "gpu" if self.gpus > 1 else self.device

    @property
    def required_gpus(self) -> int:
        """How many free GPUs a worker needs to start the job."""
        return self.gpus if self.required_device == "gpu" else 0


class JobSpec(SpecPart):
    """A training job. The stored spec is what ran: defaults, the seed and automatic choices are written back."""

    name: Name | None = Field(None, description="Generated if absent.")
    dataset: str = Field(
        min_length=1,
        max_length=160,
        description="`mnist5k`, `pets` (newest ready version), `pets@3`, or an id `ds_…`.",
    )
    network: AnyNetworkSpec
    augmentation: AugmentationSpec | None = None
    training: TrainingSpec = TrainingSpec()
    objective: Measure | None = Field(
        None,
        description="The metric of validation that counts. Early stopping, the kept epoch and `reduce_on_plateau` "
        "follow it, and so do studies of this job. null: they follow the loss.",
    )
    costs: Costs = None
    group_column: GroupColumn = None
    initial: InitialSpec | None = None
    validation: Validation | None = Field(None, description="null: the dataset's own splits.")
    evaluation: EvaluationSpec = EvaluationSpec()
    limits: LimitsSpec = LimitsSpec()
    priority: Priority = 0
    resources: ResourcesSpec = ResourcesSpec()
    metadata: Metadata = Field({})

    @field_validator("validation")
    @classmethod
    def _check_choices_have_validation(cls, validation: Validation | None, info: ValidationInfo) -> Validation | None:
        training = info.data.get("training")
        if not isinstance(validation, TrainOnAllSpec) or not isinstance(training, TrainingSpec):
            return validation
        if training.chooses_by_validation or training.on_overfit != "none":
            raise ValueError(
                "`use: train` leaves no validation images, so `early_stopping`, `reduce_on_plateau` and `on_overfit` "
                "are not possible"
            )
        return validation

    @model_validator(mode="after")
    def _check_objective(self) -> "JobSpec":
        require_parts(self.objective, self.costs, self.group_column)
        early = self.training.early_stopping
        if early is not None and early.monitor == "validation_objective" and self.objective is None:
            raise PydanticCustomError(
                "value_error",
                "`monitor` is `validation_objective`, but the job has no `objective`; name one, or another figure",
                {"path": ("training", "early_stopping", "monitor")},
            )
        return self

    @property
    def monitored(self) -> MonitoredFigure:
        """The figure of an epoch that early stopping watches."""
        early = self.training.early_stopping
        if early is None or early.monitor is None or early.monitor == "validation_objective":
            return self.followed
        return early.monitor

    @property
    def followed(self) -> MonitoredFigure:
        """The figure that ranks epochs. It follows the `objective`."""
        return get_followed(self.objective)

    @property
    def has_own_objective(self) -> bool:
        """Whether the `objective` is neither loss nor accuracy, which every epoch has anyway."""
        return self.followed == "validation_objective"

    @property
    def is_about_groups(self) -> bool:
        """Whether the `objective` is that of the worst group, so that training needs the dataset's columns."""
        return self.objective == "worst_group"

    @property
    def folds(self) -> ValidationSpec | None:
        """How train and validation are split again into folds; None if they are not."""
        return self.validation if isinstance(self.validation, ValidationSpec) else None

    @property
    def has_validation(self) -> bool:
        """Whether the job has validation images; False if it trains on them."""
        return not isinstance(self.validation, TrainOnAllSpec)

    def generate_name(self, dataset: str, job_id: str) -> str:
        """Make a name such as `mnist5k 32-64-128 · 4tz9qk`: dataset, filters of the blocks, end of the job's id."""
        parts = [] if self.network.uploaded_model is None else ["backbone" if self.network.backbone else "own network"]
        blocks = self.network.blocks
        parts += (
            [str(block.filters) for block in blocks] if len(blocks) <= MAX_LISTED_BLOCKS else [f"{len(blocks)} blocks"]
        )
        tail = f" {'-'.join(parts)} · {job_id[-6:]}"
        return dataset[: MAX_NAME_CHARACTERS - len(tail)] + tail

    def complete(self, *, name: str, seed: int, uploaded: Backbone | None = None) -> "JobSpec":
        """Return this spec with its name, seed and an uploaded network's input filled in if they were absent."""
        training = self.training
        if training.seed is None:
            training = training.model_copy(update={"seed": seed})
        network = self.network if uploaded is None else self.network.note_input(uploaded.pixels, uploaded.size)
        return self.model_copy(update={"name": self.name or name, "network": network, "training": training})

    def replace_choices(
        self, *, device: Literal["cpu", "gpu"], towers: int, precision: Literal["float32", "mixed"]
    ) -> "JobSpec":
        """Return this spec with every `auto` replaced by what the worker chose at the start."""
        resources = self.resources.model_copy(update={"device": device, "towers": towers})
        training = self.training.model_copy(update={"precision": precision})
        return self.model_copy(update={"resources": resources, "training": training})
