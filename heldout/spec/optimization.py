"""The parts of a job spec that describe the objective, and how weights follow its gradients at which rate."""

from collections.abc import Mapping
from math import cos, pi
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from heldout.spec.part import ChoiceSpec, SpecPart

OptimizerName = Literal["sgd", "adam", "adamw", "rmsprop"]
# The classes of `keras.optimizers`, by name.
OPTIMIZERS: Mapping[OptimizerName, str] = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}


class OptimizerSpec(ChoiceSpec):
    """A Keras optimizer; `momentum` belongs to sgd and `weight_decay` to adamw, and is null elsewhere."""

    owned: ClassVar = {"momentum": ("sgd", 0.0), "weight_decay": ("adamw", 0.004)}  # Keras' own defaults

    name: OptimizerName = "adam"
    learning_rate: float = Field(0.001, gt=0, le=1)
    momentum: float | None = Field(None, ge=0, lt=1)
    nesterov: bool = Field(False, description="Of sgd: look ahead along the momentum, which must be above 0.")
    weight_decay: float | None = Field(None, ge=0, le=1)
    clip_norm: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="Longest gradient of all weights together; longer ones are scaled down. Keras' `global_clipnorm`.",
    )

    @field_validator("nesterov")
    @classmethod
    def _check_momentum(cls, nesterov: bool, info: ValidationInfo) -> bool:
        name = info.data.get("name")
        if nesterov and name not in (None, "sgd"):
            raise ValueError(f"`nesterov` belongs to sgd; {name} has none")
        if nesterov and info.data.get("momentum") == 0:
            raise ValueError("looking ahead needs a momentum; set `momentum`, usually to 0.9")
        return nesterov

    @property
    def keras_class(self) -> str:
        return OPTIMIZERS[self.name]

    @property
    def keras_arguments(self) -> dict[str, Any]:
        """Arguments of the class besides the learning rate, where they differ from Keras' defaults."""
        given = {"momentum": self.momentum, "weight_decay": self.weight_decay, "global_clipnorm": self.clip_norm}
        found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return found | ({"nesterov": True} if self.nesterov else {})


class LossSpec(ChoiceSpec):
    """What the training minimizes; measured losses are always plain cross-entropy."""

    owned: ClassVar = {"gamma": ("focal", 2.0), "alpha": ("focal", 0.25)}  # Keras' own defaults

    name: Literal["cross_entropy", "focal"] = "cross_entropy"
    gamma: float | None = Field(None, ge=0, le=10, description="Of focal: how much less easy images count; 0: alike.")
    alpha: float | None = Field(None, gt=0, le=1, description="Of focal: factor of the whole loss.")


MAX_MILESTONES = 16
Milestone = Annotated[int, Field(ge=1, le=1000)]


class ScheduleSpec(SpecPart):
    """Base of the schedules. A schedule that does not say what the rate is leaves it as it was."""

    @property
    def depends_on_epochs(self) -> bool:
        """Whether every rate depends on how many epochs there are, so that no epochs can be added later."""
        return False

    def compute_rate(self, peak: float, step: int, steps: int, epochs: int) -> float | None:
        """Return the rate of a step, or None if steps alone do not decide it.

        Args:
            peak: the optimizer's learning rate.
            step: counted from 0 over the whole training.
            steps: in an epoch.
        """
        return None


class ConstantSchedule(ScheduleSpec):
    """The optimizer's learning rate, unchanged throughout."""

    name: Literal["constant"] = "constant"


class CosineSchedule(ScheduleSpec):
    """Linear warm-up, then half a cosine from the learning rate down to zero at the last step."""

    name: Literal["cosine"]
    warmup_epochs: int = Field(0, ge=0, le=1000)

    @property
    def depends_on_epochs(self) -> bool:
        return True

    def compute_rate(self, peak: float, step: int, steps: int, epochs: int) -> float:
        """Source: `keras.optimizers.schedules.CosineDecay` with its warm-up from zero."""
        warmup, total = self.warmup_epochs * steps, epochs * steps
        if step < warmup:
            return peak * step / warmup
        return peak * 0.5 * (1 + cos(pi * (step - warmup) / (total - warmup)))


class PlateauSchedule(ScheduleSpec):
    """Multiplies the learning rate by `factor` after `patience` epochs without a lower validation loss."""

    name: Literal["reduce_on_plateau"]
    factor: float = Field(0.1, gt=0, lt=1)
    patience: int = Field(5, ge=1, le=100)


class OneCycleSchedule(ScheduleSpec):
    """Rises to the learning rate along half a cosine, then falls along another; fields as in PyTorch's OneCycleLR."""

    name: Literal["one_cycle"]
    pct_start: float = Field(0.3, ge=0, lt=1, description="Share of the steps in which the rate rises.")
    div_factor: float = Field(
        25.0, ge=1, le=1e6, description="The first rate is the learning rate divided by this number."
    )
    final_div_factor: float = Field(
        1e4, ge=1, le=1e9, description="The last rate is the first rate divided by this number."
    )

    @property
    def depends_on_epochs(self) -> bool:
        return True

    def compute_rate(self, peak: float, step: int, steps: int, epochs: int) -> float:
        """Source: Smith and Topin 2017, arXiv:1708.07120; `OneCycleLR` of PyTorch, whose momentum stays constant."""
        first, last_step = peak / self.div_factor, epochs * steps - 1
        top = self.pct_start * epochs * steps - 1
        if step <= top:
            return _anneal(first, peak, step / top if top else 1.0)
        return _anneal(peak, first / self.final_div_factor, (step - top) / (last_step - top))


class StepSchedule(ScheduleSpec):
    """Multiplies the learning rate by `factor` after each of some epochs."""

    name: Literal["step"]
    factor: float = Field(0.1, gt=0, lt=1)
    milestones: tuple[Milestone, ...] | None = Field(
        None,
        strict=False,
        min_length=1,
        max_length=MAX_MILESTONES,
        description="Epochs after which the rate falls, ascending; null: half and three quarters of all epochs.",
    )

    @field_validator("milestones")
    @classmethod
    def _check_order(cls, milestones: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if milestones is not None and list(milestones) != sorted(set(milestones)):
            raise ValueError(f"epochs must ascend, each named once; these are {list(milestones)}")
        return milestones

    @property
    def depends_on_epochs(self) -> bool:
        return self.milestones is None

    def compute_rate(self, peak: float, step: int, steps: int, epochs: int) -> float:
        """Source: `keras.optimizers.schedules.PiecewiseConstantDecay`; He et al. 2015, arXiv:1512.03385 (null)."""
        milestones = (epochs / 2, epochs * 3 / 4) if self.milestones is None else self.milestones
        done = step // steps
        return peak * self.factor ** sum(done >= milestone for milestone in milestones)


def _anneal(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + cos(pi * share))


Schedule = Annotated[
    ConstantSchedule | CosineSchedule | PlateauSchedule | OneCycleSchedule | StepSchedule, Field(discriminator="name")
]


def default_to_constant(data: Any) -> Any:
    """Name the schedule that an unnamed one means: like other optional fields, the name may be absent or null."""
    return {**data, "name": "constant"} if isinstance(data, dict) and data.get("name") is None else data
