"""Detects comparisons that slightly favor a remedy over its base. Pure."""

from heldout.spec.job import JobSpec


def chooses_alone(base: JobSpec, changed: JobSpec) -> bool:
    """Whether a remedy's trainings choose their epochs on the validation images and the base's do not.

    The best of many epochs looks better on the images that chose it than on others, which favors the remedy. If both
    choose, both are favored equally.
    """
    return changed.training.chooses_by_validation and not base.training.chooses_by_validation
