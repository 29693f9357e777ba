"""The parts of a job spec that describe the objective and how weights follow its gradients."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from heldout.spec.part import ChoiceSpec

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
