"""The last training of a study, the winner on train and validation together; and what favors a winner. Pure."""

from collections.abc import Mapping
from typing import Any

from heldout.spec.documents import merge
from heldout.spec.job import JobSpec

# Without validation images, these cannot choose anything.
_CHOOSES_BY_VALIDATION = {"early_stopping": None, "on_overfit": "none"}


def make_refit_spec(base: JobSpec, patch: Mapping[str, Any], epochs: int) -> JobSpec:
    """Make the spec of the winner's refit.

    It trains for `epochs`, the number at which the winner was best on validation images, instead of choosing an epoch.
    A learning rate that fell on a plateau stays constant; schedules that depend on the number of epochs run over these.
    The test split, which the study has used once, is not measured again.

    Args:
        base: the study's base, complete.
        patch: the winner's merge patch (RFC 7396).
    Raises:
        pydantic.ValidationError: if the patch does not fit the base.
    """
    won = JobSpec.model_validate(merge(base.model_dump(mode="json"), patch))
    training: dict[str, Any] = {**won.training.model_dump(mode="json"), "epochs": epochs, **_CHOOSES_BY_VALIDATION}
    schedule = training["schedule"]
    if schedule["name"] == "reduce_on_plateau":
        training["schedule"] = {"name": "constant"}
    elif schedule["name"] == "cosine":
        training["schedule"] = {**schedule, "warmup_epochs": min(schedule["warmup_epochs"], epochs - 1)}
    return JobSpec.model_validate(
        {
            **won.model_dump(mode="json"),
            "training": training,
            "validation": {"use": "train"},
            "evaluation": {"test": "never"},
        }
    )


def chooses_alone(base: JobSpec, changed: JobSpec) -> bool:
    """Return whether a remedy's trainings choose their epochs on the validation images and the base's do not.

    The best of many epochs looks better on the images that chose it than on others, which favors the remedy. If both
    choose, both are favored equally.
    """
    return changed.training.chooses_by_validation and not base.training.chooses_by_validation
