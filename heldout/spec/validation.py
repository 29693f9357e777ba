"""The part of a job spec that says which images validate the job."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator

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
    """Whether the job with this complete spec (as JSON) has no validation images."""
    return (spec.get("validation") or {}).get("use") is not None
